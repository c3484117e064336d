"""The checks that confirm an alert and that see whether a fix helped: a dataset's suite, a model's live answers."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import httpx

from flows.references import reference
from incidents import moves
from incidents.ledger import ledger
from incidents.models import Frozen, Health, Verdict
from incidents.playbook import Model, Sample, playbook
from incidents.settings import settings
from remediations import pointers, scoring
from remediations.datasets import open_store
from remediations.lineage import serving
from remediations.loading import NotLoaded

_log = logging.getLogger(__name__)


class Look(Frozen):
    """What one look saw, at which version of what."""

    subject: str
    verdict: Verdict
    #: The version that the verdict is about; None where it could not be told.
    version: str | None = None
    #: The version that the pointer names, where the service was seen to answer with another.
    not_served: str | None = None


class Check(Protocol):
    """A way to look at one asset."""

    @property
    def subject(self) -> str:
        """What it looks at: ``dataset:transactions``."""

    @property
    def patient(self) -> bool:
        """Whether looking again later can find something else, so that it is worth waiting."""

    @property
    def consecutive(self) -> int:
        """After a fix so many looks in a row have to be healthy."""

    def look(self) -> Look:
        """Look once. A server that does not answer is inconclusive, never an exception."""


class DatasetCheck(Frozen):
    """Does the dataset's current version pass its suite, or another one of its versions?"""

    dataset: str
    #: None: the one that is current at that moment.
    version: str | None = None
    #: Whether it has to be fresh as well; what is gone back to is not.
    timely: bool = True
    #: A version's content never changes, so neither does what the suite says of it.
    patient: bool = False
    consecutive: int = 1

    @property
    def subject(self) -> str:
        """``dataset:transactions``."""
        return f"dataset:{self.dataset}"

    def look(self) -> Look:
        """Fetch the version, run the suite over it, and keep the page that shows the result."""
        from expectations.docs import render
        from expectations.engine import CannotValidate, validate

        declared = playbook().datasets[self.dataset]
        if declared.suite is None:
            return Look(subject=self.subject, verdict=_inconclusive(f"{self.dataset} has no suite in the playbook"))
        store = open_store(declared.store, self.dataset)
        version = self.version or store.current().version
        with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
            try:
                files = store.fetch(version, Path(folder))
                validation = validate(
                    declared.suite,
                    files,
                    sample_rows=declared.sample_rows,
                    reference_of=partial(reference, self.dataset, version),
                    timely=self.timely and self.version is None,
                )
            except CannotValidate as error:
                return Look(subject=self.subject, verdict=_inconclusive(str(error)), version=version)
        page = settings().home / "data_docs" / f"{self.dataset}-{version}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(render(validation), encoding="utf-8")
        seen: dict[str, Any] = {"version": version, "data_docs": str(page), "late": validation.late}
        seen["validation"] = validation.model_dump(mode="json")
        verdict = validation.verdict
        return Look(
            subject=self.subject,
            verdict=verdict.model_copy(update={"why": f"{version}: {verdict.why}", "evidence": seen}),
            version=None if validation.late else version,
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

    @property
    def consecutive(self) -> int:
        """As the playbook says."""
        health = playbook().models[self.model].health
        return health.consecutive if health else 1

    def look(self) -> Look:
        """Send the labelled sample to the live service and compare its answers with the labels."""
        declared = playbook().models[self.model]
        if not isinstance(declared.health, Sample) or declared.service is None:
            why = f"{self.model} has no health in the playbook that rows could measure"
            return Look(subject=self.subject, verdict=_inconclusive(why))
        sample = scoring.labelled(declared.health)
        try:
            answered, said = scoring.ask(declared.service, sample.rows)
        except (httpx.HTTPError, ValueError) as error:
            why = f"{declared.service} gave no usable answer ({type(error).__name__}: {error})"
            return Look(subject=self.subject, verdict=_inconclusive(why))
        wanted = str(serving(self.model, declared.alias))
        try:
            unlike = self._unlike(declared, wanted, said, answered, sample)
        except NotLoaded as refused:
            return Look(subject=self.subject, verdict=_inconclusive(f"its answers were not compared: {refused}"))
        if unlike:
            why = f"pointer moved, not served: {declared.alias} is version {wanted}, the service answers with {unlike}"
            return Look(subject=self.subject, verdict=_inconclusive(why), not_served=wanted)
        return Look(
            subject=self.subject, verdict=_measure(declared.health, answered, sample.truth, wanted), version=wanted
        )

    def _unlike(
        self, declared: Model, wanted: str, said: set[str], answered: list[bool], sample: scoring.Labelled
    ) -> str:
        """What the service answers with instead of the version wanted; empty where it is that one."""
        if declared.served_by == "version":
            return "" if said == {wanted} else ", ".join(sorted(said))
        expected = scoring.predict(self.model, int(wanted), sample.rows)
        others = sum(one != other for one, other in zip(answered, expected, strict=True))
        return f"something else on {others} of {len(expected)} rows" if others else ""


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
