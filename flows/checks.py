"""The checks that confirm an alert and that see whether a fix helped: a dataset's suite, a model's live answers."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import httpx

from incidents import moves
from incidents.ledger import ledger
from incidents.models import Frozen, Health, Verdict
from incidents.playbook import Sample, playbook
from incidents.settings import settings
from remediations import pointers
from remediations.clients import http
from remediations.datasets import open_store
from remediations.lineage import serving

_log = logging.getLogger(__name__)

#: Rows sent to a model service in one request.
BATCH = 5_000


class Look(Frozen):
    """What one look saw, at which version of what."""

    subject: str
    verdict: Verdict
    #: The version that the verdict is about; None where it could not be told.
    version: str | None = None


class Check(Protocol):
    """A way to look at one asset."""

    @property
    def subject(self) -> str:
        """What it looks at: ``dataset:transactions``."""

    @property
    def patient(self) -> bool:
        """Whether looking again later can find something else, so that it is worth waiting."""

    def look(self) -> Look:
        """Look once. A server that does not answer is inconclusive, never an exception."""


class DatasetCheck(Frozen):
    """Does the dataset's current version pass its suite?"""

    dataset: str
    #: A version's content never changes, so neither does what the suite says of it.
    patient: bool = False

    @property
    def subject(self) -> str:
        """``dataset:transactions``."""
        return f"dataset:{self.dataset}"

    def look(self) -> Look:
        """Fetch the current version, run the suite over it, and keep the page that shows the result."""
        from expectations.docs import render
        from expectations.engine import CannotValidate, validate

        declared = playbook().datasets[self.dataset]
        if declared.suite is None:
            return Look(subject=self.subject, verdict=_inconclusive(f"{self.dataset} has no suite in the playbook"))
        store = open_store(declared.store, self.dataset)
        version = store.current().version
        with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
            try:
                files = store.fetch(version, Path(folder))
                validation = validate(declared.suite, files, sample_rows=declared.sample_rows)
            except CannotValidate as error:
                return Look(subject=self.subject, verdict=_inconclusive(str(error)), version=version)
        page = settings().home / "data_docs" / f"{self.dataset}-{version}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(render(validation), encoding="utf-8")
        seen = {"version": version, "data_docs": str(page), "validation": validation.model_dump(mode="json")}
        verdict = validation.verdict
        return Look(
            subject=self.subject,
            verdict=verdict.model_copy(update={"why": f"{version}: {verdict.why}", "evidence": seen}),
            version=version,
        )


class ModelCheck(Frozen):
    """Does the service answer with the version in production, and well enough on rows whose truth is known?"""

    model: str
    #: A service takes a moment to load a version, so looking again is worth it.
    patient: bool = True

    @property
    def subject(self) -> str:
        """``model:fraud``."""
        return f"model:{self.model}"

    def look(self) -> Look:
        """Send the labelled sample to the live service and compare its answers with the labels."""
        declared = playbook().models[self.model]
        if declared.health is None or declared.service is None:
            return Look(subject=self.subject, verdict=_inconclusive(f"{self.model} has no health in the playbook"))
        rows, truth = _labelled(declared.health)
        try:
            answered, said = _ask(declared.service, rows)
        except (httpx.HTTPError, ValueError) as error:
            why = f"{declared.service} gave no usable answer ({type(error).__name__}: {error})"
            return Look(subject=self.subject, verdict=_inconclusive(why))
        wanted = str(serving(self.model, declared.alias))
        if said != {wanted}:
            why = f"{declared.alias} is version {wanted}, the service answers with {', '.join(sorted(said))}"
            return Look(subject=self.subject, verdict=_inconclusive(why))
        return Look(subject=self.subject, verdict=_measure(declared.health, answered, truth, wanted), version=wanted)


def see(asset: str, actor: str, incident: str | None = None) -> None:
    """Compare an asset's pointer with the record, and put it there where somebody else moved it: often that was it.

    A server that is away keeps nobody from looking at the rest.
    """
    try:
        sight, moved = moves.see(ledger(), partial(pointers.look, asset), actor=actor, incident=incident)
    except Exception as error:
        _log.warning("where %s is could not be seen: %s: %s", asset, type(error).__name__, error)
        return
    if moved is not None:
        _log.info("%s was moved by somebody else, to version %s", sight.target, sight.version)


def _labelled(health: Sample) -> tuple[list[dict[str, Any]], list[bool]]:
    """The current labelled rows that count for the metric, without their label, and the labels."""
    import pandas as pd

    declared = playbook().datasets[health.dataset]
    store = open_store(declared.store, health.dataset)
    with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
        files = store.fetch(store.current().version, Path(folder))
        frame = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    if health.metric == "recall":  # what is lost among the positives says all; the others need not be asked about
        frame = frame[frame[health.label].astype(bool)]
    truth = frame.pop(health.label).astype(bool).tolist()
    return json.loads(frame.to_json(orient="records", date_format="iso")), truth


def _ask(service: str, rows: list[dict[str, Any]]) -> tuple[list[bool], set[str]]:
    """The service's answers to all rows, and every version that it said it answered with."""
    answers: list[bool] = []
    versions: set[str] = set()
    for batch in _batches(rows):
        response = http().post(f"{service}/invocations", json={"dataframe_records": batch})
        response.raise_for_status()
        predictions = response.json()["predictions"]
        if len(predictions) != len(batch):
            raise ValueError(f"{len(predictions)} predictions for {len(batch)} rows")
        answers += [bool(answer) for answer in predictions]
        versions.add(response.headers.get("X-Model-Version", "none that it names"))
    return answers, versions


def _batches(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]


def _measure(health: Sample, answered: Iterable[bool], truth: Iterable[bool], version: str) -> Verdict:
    """Compute the metric, and judge it where there are enough rows to."""
    pairs = list(zip(answered, truth, strict=True))
    counted = {
        "recall": [answer for answer, true in pairs if true],
        "precision": [true for answer, true in pairs if answer],
        "accuracy": [answer == true for answer, true in pairs],
    }[health.metric]
    seen = {"metric": health.metric, "at_least": health.at_least, "rows": len(pairs), "counted": len(counted)}
    if len(counted) < health.minimum:
        return _inconclusive(f"only {len(counted)} rows count for {health.metric}, {health.minimum} are needed", seen)
    value = sum(counted) / len(counted)
    well = value >= health.at_least
    return Verdict(
        health=Health.healthy if well else Health.unhealthy,
        why=f"version {version} has a {health.metric} of {value:.3f} on {len(counted)} rows, "
        f"{'at least' if well else 'below'} {health.at_least}",
        evidence={**seen, "value": round(value, 4), "version": version},
    )


def _inconclusive(why: str, evidence: dict[str, Any] | None = None) -> Verdict:
    return Verdict(health=Health.inconclusive, why=why, evidence=evidence or {})
