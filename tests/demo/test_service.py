"""The model service as its own process: what it answers, and how it follows the alias."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pandas as pd
import pytest

import demo
from demo import service, training
from demo.servers import Server, free_port
from demo.transactions import break_feed, generate, write_parquet
from remediations.clients import registry
from remediations.refusals import TAG

MODEL = "fraud-service"
NOT_FEATURES = ["transaction_id", "event_time", "is_fraud"]


@dataclass(frozen=True)
class World:
    """Two versions of one model, and the labelled Parquet sample that recall is measured on."""

    good: int
    broken: int
    sample: Path

    def rows(self, count: int) -> list[dict[str, Any]]:
        """The first rows of the sample, as a client sends them: NaN is null, and columns may be too many."""
        return as_rows(pd.read_parquet(self.sample).head(count))


def as_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as JSON can carry them."""
    sent = frame.drop(columns=NOT_FEATURES).astype(object)
    return sent.where(sent.notna(), None).to_dict("records")  # type: ignore[no-any-return]  # pandas is untyped here


@pytest.fixture(scope="module")
def world(mlflow_server: Any, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Train both versions; the alias is set to neither."""
    folder = tmp_path_factory.mktemp("service")
    frame = generate(20_000)
    files = {"good": frame, "broken": break_feed(frame)}
    versions = {
        name: training.train(
            write_parquet(content, folder / name),
            dataset="cards",
            version=name,
            source=f"s3://data/cards/{name}.json",
            model=MODEL,
            alias=None,
        )
        for name, content in files.items()
    }
    (sample,) = write_parquet(generate(20_000, seed=99), folder / "sample", parts=1)
    return World(versions["good"], versions["broken"], sample)


def process(folder: Path, alias: str) -> Server:
    """The service as its own process, ready as soon as it listens."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    flags = {"model": MODEL, "alias": alias, "port": port, "reload-seconds": 0.2}
    return Server(
        name=f"service-{alias}",
        argv=[sys.executable, "-m", "demo.service", *(f"--{name}={value}" for name, value in flags.items())],
        log=folder / f"{alias}.log",
        ready=lambda: httpx.get(f"{url}/health").status_code in {200, 503},
        url=url,
        settings={"PYTHONPATH": str(Path(demo.__file__).parents[1])},
    )


def point(alias: str, version: int) -> None:
    """Move an alias of the model, as a person or an action would."""
    registry().set_registered_model_alias(MODEL, alias, str(version))


def until(seen: Callable[[], bool]) -> None:
    """Wait until something is so, within a bound that is far beyond what it takes."""
    deadline = time.monotonic() + 30
    while not seen():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)


def health(url: str) -> dict[str, Any]:
    """What the service says about itself."""
    said: dict[str, Any] = httpx.get(f"{url}/health").json()
    return said


def serves(url: str, version: int) -> bool:
    """Whether the service says that it answers with this version, and that all is well."""
    said = health(url)
    return (said["version"], said["problem"]) == (version, None)


@pytest.fixture(scope="module")
def champion(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that follows ``champion``."""
    point("champion", world.good)
    with process(tmp_path_factory.mktemp("log"), "champion") as server:
        yield server.url


@pytest.fixture
def url(champion: str, world: World) -> str:
    """The same service, once it serves the good version, wherever the test before left the alias."""
    point("champion", world.good)
    until(partial(serves, champion, world.good))
    return champion


def predict(url: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Have rows scored."""
    answer: dict[str, Any] = httpx.post(f"{url}/predict", json={"rows": rows}, timeout=30).raise_for_status().json()
    return answer


def recall(url: str, sample: Path) -> float:
    """The share of the fraud in a labelled sample that the service finds, asked in batches."""
    frame = pd.read_parquet(sample)
    rows = as_rows(frame)
    called = [one for start in range(0, len(rows), 6_000) for one in predict(url, rows[start : start + 6_000])["fraud"]]
    fraud: list[bool] = frame["is_fraud"].tolist()
    caught: int = sum(found for found, real in zip(called, fraud, strict=True) if real)
    return caught / sum(fraud)


def test_it_says_which_version_answered(url: str, world: World) -> None:
    """Version and model are in the answer, in its header and in /health, and scores and verdicts agree."""
    response = httpx.post(f"{url}/predict", json={"rows": world.rows(500)})
    answer = response.json()
    assert (answer["model"], answer["version"]) == (MODEL, world.good)
    assert response.headers["X-Model-Version"] == str(world.good)
    said = health(url)
    assert time.time() - 3600 < said.pop("since") < time.time()
    assert said == {"model": MODEL, "alias": "champion", "version": world.good, "problem": None}
    assert len(answer["scores"]) == 500
    assert answer["fraud"] == [score >= training.THRESHOLD for score in answer["scores"]]


def test_it_speaks_mlflows_protocol(url: str, world: World) -> None:
    """``/invocations`` takes a frame's records as pandas writes them, and answers as ``/predict`` does."""
    frame = pd.read_parquet(world.sample).head(500)
    records = json.loads(frame.to_json(orient="records", date_format="iso"))
    response = httpx.post(f"{url}/invocations", json={"dataframe_records": records}).raise_for_status()
    assert response.json() == {"predictions": predict(url, world.rows(500))["fraud"]}
    assert response.headers["X-Model-Version"] == str(world.good)

    refused = httpx.post(f"{url}/invocations", json={"dataframe_records": [{}]})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["where"] == "dataframe_records.0.merchant_category"


def test_recall_falls_and_comes_back_with_the_alias(url: str, world: World) -> None:
    """Moving the alias to the version from broken data costs most of the recall; moving it back restores it."""
    before = recall(url, world.sample)
    assert before > 0.7

    point("champion", world.broken)
    until(partial(serves, url, world.broken))
    assert recall(url, world.sample) < 0.5

    point("champion", world.good)
    until(partial(serves, url, world.good))
    assert recall(url, world.sample) == before


def test_a_quarantined_version_is_not_served(url: str, world: World) -> None:
    """The alias may point at it: the version before goes on answering, and /health says why."""
    registry().set_model_version_tag(MODEL, str(world.broken), TAG, "INC-7")
    try:
        point("champion", world.broken)
        until(lambda: "is quarantined: INC-7" in (health(url)["problem"] or ""))
        assert predict(url, world.rows(3))["version"] == world.good
    finally:
        registry().delete_model_version_tag(MODEL, str(world.broken), TAG)
    until(partial(serves, url, world.broken))


def test_the_version_in_an_answer_computed_it(url: str, world: World) -> None:
    """While the alias moves to and fro under many requests, each answer has the scores of the version it names."""
    rows = world.rows(2_000)
    expected = {
        version: training.scores(training.load(f"models:/{MODEL}/{version}"), pd.DataFrame(rows))
        for version in (world.good, world.broken)
    }
    answers: list[dict[str, Any]] = []
    enough = Event()

    def ask() -> None:
        while not enough.is_set():
            answers.append(predict(url, rows))

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(3)]
        try:
            for version in (world.broken, world.good) * 3:
                point("champion", version)
                until(partial(serves, url, version))
        finally:
            enough.set()
    for one in asking:
        one.result()
    assert {one["version"] for one in answers} == {world.good, world.broken}
    for answer in answers:
        assert answer["scores"] == pytest.approx(expected[answer["version"]])


def test_the_row_is_what_the_model_looks_at() -> None:
    """The fields of a row are the model's features, no more and no fewer."""
    assert set(service.Row.__annotations__) == set(training.FEATURES)


def test_unknown_is_an_answer(url: str, world: World) -> None:
    """Null, NaN, a new category and keys that nobody asked for are scored; no rows get no scores."""
    (row,) = world.rows(1)
    odd = [
        dict.fromkeys(training.FEATURES),
        row | {"amount": math.nan, "distance_from_home_km": math.inf},
        row | {"merchant_category": "crypto_exchange", "is_fraud": True, "note": {"any": "thing"}},
    ]
    answer = httpx.post(f"{url}/predict", content=json.dumps({"rows": odd})).raise_for_status().json()
    assert len(answer["scores"]) == len(answer["fraud"]) == 3
    assert predict(url, [])["scores"] == []


GOOD_ROW: dict[str, Any] = dict.fromkeys(training.FEATURES)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", ""),
        (b"secret {", ""),
        (b"[]", ""),
        (b"{}", "rows"),
        (json.dumps({"rows": {"amount": 1}}).encode(), "rows"),
        (json.dumps({"rows": [dict.fromkeys(training.FEATURES[1:])]}).encode(), "rows.0.merchant_category"),
        (json.dumps({"rows": [GOOD_ROW, GOOD_ROW | {"amount": "secret"}]}).encode(), "rows.1.amount"),
        (json.dumps({"rows": [GOOD_ROW] * (service.MAX_ROWS + 1)}).encode(), "rows"),
        (b'{"rows": ["\xff\xfe secret"]}', ""),
    ],
    ids=[
        "empty",
        "not JSON",
        "a list",
        "no rows",
        "not a list",
        "a column is missing",
        "a text",
        "too many",
        "no text",
    ],
)
def test_a_bad_body_is_the_senders_problem(url: str, body: bytes, where: str) -> None:
    """A body that is not rows gets a 422 that says where, and does not echo what was sent."""
    response = httpx.post(f"{url}/predict", content=body, timeout=30)
    said = response.json()
    assert response.status_code == said["status"] == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert said["errors"][0]["where"] == where
    assert "secret" not in response.text


def test_a_body_that_is_too_long_is_refused(url: str) -> None:
    """More bytes than a full batch can have are refused, and the service goes on."""
    response = httpx.post(f"{url}/predict", content=b" " * (service.MAX_BYTES + 1), timeout=30)
    assert response.status_code == 413
    assert health(url)["problem"] is None


def test_a_life_from_nothing_to_a_clean_end(world: World, tmp_path: Path) -> None:
    """503 before the first version; a version that can't score is not let in, and said so; SIGTERM ends with 0."""
    server = process(tmp_path, "newcomer").start().wait_ready()
    try:
        assert httpx.post(f"{server.url}/predict", json={"rows": []}).status_code == 503
        assert health(server.url)["version"] is None
        point("newcomer", world.good)
        until(partial(serves, server.url, world.good))

        useless = not_a_fraud_model()
        point("newcomer", useless)
        until(lambda: health(server.url)["problem"] is not None)
        assert health(server.url)["version"] == predict(server.url, world.rows(3))["version"] == world.good

        registry().delete_registered_model_alias(MODEL, "newcomer")
        until(lambda: "newcomer" in health(server.url)["problem"] and "not found" in health(server.url)["problem"])
        assert predict(server.url, world.rows(3))["version"] == world.good
    finally:
        running = server._process
        server.stop()
    assert running is not None
    assert running.returncode == 0


def not_a_fraud_model() -> int:
    """Register a version that loads well and knows nothing of transactions."""
    import mlflow
    from sklearn.linear_model import LogisticRegression

    with mlflow.start_run() as run:
        stored = mlflow.sklearn.log_model(
            LogisticRegression().fit([[0.0, 1.0], [1.0, 0.0]], [0, 1]), name="other", pip_requirements=[]
        )
    made = registry().create_model_version(
        MODEL, stored.model_uri, run_id=run.info.run_id, model_id=stored.model_id, await_creation_for=0
    )
    return int(made.version)
