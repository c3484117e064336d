"""Health as a real Prometheus tells it, scraping a small exporter whose numbers the test sets."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from prefect import flow

from demo.servers import Server, free_port
from flows import looking
from flows.case import Case
from flows.checks_of import model_check
from flows.checks_prometheus import QueryCheck
from incidents.ledger import Ledger
from incidents.models import Category, Health, Verdict
from incidents.upkeep import PromQuery
from tests.flows.kit import ChangePlaybook, System, opened

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="there is no prometheus on PATH (Debian's package is called prometheus)"
)


@dataclass
class Exporter:
    """What Prometheus scrapes: lines of its text format, and how often it was asked for them."""

    prometheus: str = ""
    lines: list[str] = field(default_factory=list)
    scrapes: int = 0

    def tell(self, *lines: str) -> None:
        """Let these be the numbers, and wait until Prometheus has them."""
        self.lines, before = list(lines), self.scrapes
        end = time.monotonic() + 60
        while self.scrapes < before + 2:  # when the second begins, what the first brought is stored
            assert time.monotonic() < end, "Prometheus does not scrape"
            time.sleep(0.05)

    def asked(self, query: str = "recall", healthy: str = ">= 0.7", **more: Any) -> QueryCheck:
        """The check of the fraud model by this query."""
        return QueryCheck(
            subject="service:scoring", asked=PromQuery(url=self.prometheus, query=query, healthy=healthy, **more)
        )


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """A running Prometheus, and what it scrapes every 0.2 s."""
    made, folder = Exporter(), tmp_path_factory.mktemp("prometheus")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.scrapes += 1
            self.send_response(200)
            self.end_headers()
            self.wfile.write("".join(f"{line}\n" for line in made.lines).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    scraped = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=scraped.serve_forever, daemon=True).start()
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        f"scrape_configs: [{{job_name: m, static_configs: [{{targets: ['127.0.0.1:{scraped.server_port}']}}]}}]\n"
    )
    url = f"http://127.0.0.1:{(port := free_port())}"
    flags = {"config.file": folder / "prometheus.yml", "storage.tsdb.path": folder / "data"}
    server = Server(
        name="prometheus",
        argv=[
            *(str(shutil.which("prometheus")), f"--web.listen-address=127.0.0.1:{port}"),
            *(f"--{name}={value}" for name, value in flags.items()),
        ],
        log=folder / "prometheus.log",
        ready=lambda: httpx.get(f"{url}/-/ready").is_success,
        url=url,
    )
    with server:
        made.prometheus = url
        yield made
    scraped.shutdown()
    scraped.server_close()


@pytest.mark.parametrize(
    ("value", "health"), [("0.7", Health.healthy), ("0.69", Health.unhealthy), ("NaN", Health.inconclusive)]
)
def test_a_number_is_healthy_unhealthy_or_tells_nothing(exporter: Exporter, value: str, health: Health) -> None:
    """The bound itself is healthy; NaN, which compares with nothing, is no data."""
    exporter.tell(f"recall {value}")
    assert exporter.asked().look().verdict.health is health


def test_no_data_several_numbers_and_a_bad_query_tell_nothing(exporter: Exporter) -> None:
    """None of them is health, and none of them is a failure of the model."""
    exporter.tell('recall{pod="a"} 0.9', 'recall{pod="b"} 0.1')
    for query in ("no_such_metric", "recall", "recall{", "recall[1m]"):
        look = exporter.asked(query).look()
        assert look.verdict.health is Health.inconclusive, query
    assert exporter.asked("min(recall)").look().verdict.health is Health.unhealthy
    assert exporter.asked("scalar(max(recall))").look().verdict.health is Health.healthy


def test_a_prometheus_that_is_away_tells_nothing() -> None:
    """A server that does not answer is inconclusive."""
    asked = PromQuery(url="http://127.0.0.1:9", query="recall", healthy=">= 0.7")
    assert QueryCheck(subject="service:scoring", asked=asked).look().verdict.health is Health.inconclusive


def test_too_few_samples_tell_nothing(exporter: Exporter) -> None:
    """A perfect number that is made of three answers is no proof."""
    exporter.tell("recall 1", "answers 3")
    few = exporter.asked(samples="answers", minimum=100).look().verdict
    assert (few.health, few.why) == (Health.inconclusive, "only 3 samples, 100 are needed")
    exporter.tell("recall 1", "answers 100")
    assert exporter.asked(samples="answers", minimum=100).look().verdict.health is Health.healthy


class Blinking(QueryCheck):
    """The check with a real Prometheus; on one of its looks the number is another."""

    looks: list[int] = []  # noqa: RUF012  # a field of a pydantic model, copied for each

    def look(self) -> Any:
        """Count the looks, and see the third one go wrong."""
        self.looks.append(1)
        look = super().look()
        bad = Verdict(health=Health.unhealthy, why="it blinked")
        return look.model_copy(update={"verdict": bad}) if len(self.looks) == 3 else look


def watched(ledger: Ledger, check: QueryCheck) -> Verdict:
    """Follow a check as after a fix."""
    case = Case(opened(ledger, "model:fraud", Category.model), actor="test")

    @flow
    async def follow() -> Verdict:
        return await looking.watch(case, check)

    return asyncio.run(follow())


def test_healthy_counts_after_so_many_looks_in_a_row(
    exporter: Exporter, ledger: Ledger, change_playbook: ChangePlaybook, prefect_server: object
) -> None:
    """One bad look in between, and it is counted from the beginning."""
    change_playbook("every_seconds: 1,", "every_seconds: 0.2,")
    exporter.tell("recall 0.9")
    check = Blinking(**exporter.asked(consecutive=3).model_dump(), looks=[])
    assert watched(ledger, check).health is Health.healthy
    assert len(check.looks) == 6


def test_healthy_and_not_often_enough_is_inconclusive(
    exporter: Exporter, ledger: Ledger, change_playbook: ChangePlaybook, prefect_server: object
) -> None:
    """The time is up before it was seen as often as it has to be: that is left to a person."""
    change_playbook("every_seconds: 1,", "every_seconds: 0.3,", "within_seconds: 60", "within_seconds: 1")
    exporter.tell("recall 0.9")
    verdict = watched(ledger, exporter.asked(consecutive=50))
    assert verdict.health is Health.inconclusive
    assert "50 are needed" in verdict.why


def test_a_model_whose_health_is_a_query_is_judged_by_the_version_it_is_about(
    exporter: Exporter, system: System, ledger: Ledger, change_playbook: ChangePlaybook
) -> None:
    """A number about the version before is no proof of the one that the alias names, however good it is."""
    health = f"health: {{url: '{exporter.prometheus}', query: recall, healthy: '>= 0.7', version_label: version}}"
    old = (Path(__file__).parents[2] / "playbook.yaml").read_text().partition("    health:\n")[2].partition("\n\n")[0]
    change_playbook(f"    health:\n{old}", f"    {health}")
    system.set(system.good, system.model_good)
    exporter.tell(f'recall{{version="{system.model_broken}"}} 0.99')
    look = model_check("fraud").look()
    assert (look.verdict.health, look.not_served) == (Health.inconclusive, str(system.model_good))
    exporter.tell(f'recall{{version="{system.model_good}"}} 0.99')
    look = model_check("fraud").look()
    assert (look.verdict.health, look.version) == (Health.healthy, str(system.model_good))
