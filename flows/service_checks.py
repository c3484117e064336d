"""The checks of what runs: a service, a pipeline, a disk; by its own health URL or by a Prometheus query."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import httpx

from flows.checks import Look
from incidents.assets import Disk, Pipeline, Probe, Service
from incidents.models import Frozen, Health, Verdict
from incidents.playbook import playbook
from remediations.clients import http
from remediations.services import open_service


class ServiceCheck(Frozen):
    """Is a service, a pipeline or a disk well?"""

    #: ``service:scoring``, ``pipeline:cards``, ``disk:scratch``.
    asset: str
    #: What runs takes a while to come up.
    patient: bool = True
    consecutive: int = 1

    @property
    def subject(self) -> str:
        """The asset."""
        return self.asset

    def look(self) -> Look:
        """Measure it once. While a service changes, good answers say nothing yet: they may be the old ones'."""
        declared = probe(self.asset)
        if declared is None:
            return Look(subject=self.asset, verdict=_inconclusive(f"{self.asset} has no health in the playbook"))
        verdict = _by_url(declared) if declared.url else _by_query(declared)
        kind, _, name = self.asset.partition(":")
        if kind != "service":
            return Look(subject=self.asset, verdict=verdict)
        running = open_service(playbook().services[name])
        try:
            settled = running.settled()
            version = running.version() if playbook().services[name].has_versions and settled else None
        except Exception as error:  # whatever stands between us and the service's API
            return Look(
                subject=self.asset, verdict=_inconclusive(f"{name} can't be seen: {type(error).__name__}: {error}")
            )
        if not settled and verdict.health is Health.healthy:
            verdict = _inconclusive(f"{verdict.why}; but a change of {name} is under way", dict(verdict.evidence))
        return Look(subject=self.asset, verdict=verdict, version=version)


def probe(asset: str) -> Probe | None:
    """How the health of an asset is measured; None where the playbook does not say, or does not declare it."""
    kind, _, name = asset.partition(":")
    book = playbook()
    found: Service | Pipeline | Disk | None
    if kind == "service":
        found = book.services.get(name)
    else:
        found = book.pipelines.get(name) if kind == "pipeline" else book.disks.get(name)
    return found.health if found else None


def _by_url(probe: Probe) -> Verdict:
    """Ask the URL a few times. 5xx and too late are bad, 2xx is good; whatever else tells nothing about its health."""
    answers = [_answer(probe) for _ in range(probe.asks)]
    bad = [said for well, said in answers if well is False]
    unknown = [said for well, said in answers if well is None]
    seen = {"url": probe.url, "answers": [said for _, said in answers]}
    if len(bad) * 2 > probe.asks:
        return Verdict(
            health=Health.unhealthy, why=f"{len(bad)} of {probe.asks} answers are bad: {bad[0]}", evidence=seen
        )
    if bad or unknown:
        return _inconclusive(f"{len(bad)} of {probe.asks} answers are bad, {len(unknown)} tell nothing", seen)
    return Verdict(health=Health.healthy, why=f"{probe.asks} of {probe.asks} answers are good", evidence=seen)


def _answer(probe: Probe) -> tuple[bool | None, str]:
    """Whether one answer is good, None where it tells nothing, and what it was."""
    assert probe.url
    began = time.monotonic()
    try:
        status = http().get(probe.url, timeout=httpx.Timeout(probe.within_seconds, connect=2)).status_code
    except httpx.ReadTimeout:
        return False, f"none within {probe.within_seconds:g} s"
    except httpx.HTTPError as error:
        return None, type(error).__name__
    if httpx.codes.is_success(status):
        late = time.monotonic() - began > probe.within_seconds
        return not late, f"{status}, too late" if late else str(status)
    return (False if httpx.codes.is_server_error(status) else None), str(status)


def _by_query(probe: Probe) -> Verdict:
    """Ask Prometheus. No number, more than one, or one of too few samples tells nothing."""
    try:
        value = _number(probe, probe.query)
        counted = _number(probe, probe.counts) if probe.counts else None
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return _inconclusive(f"Prometheus gave no usable answer ({type(error).__name__}: {error})")
    seen = {"query": probe.query, "value": value, "counted": counted}
    if counted is not None and counted < probe.minimum:
        return _inconclusive(f"it is made of {counted:g} only, {probe.minimum} are needed", seen)
    if probe.at_most is not None:
        well, limit = value <= probe.at_most, f"at most {probe.at_most:g}"
    else:
        assert probe.at_least is not None
        well, limit = value >= probe.at_least, f"at least {probe.at_least:g}"
    health = Health.healthy if well else Health.unhealthy
    return Verdict(health=health, why=f"{value:g}, {limit} is healthy", evidence=seen)


def _number(probe: Probe, query: str) -> float:
    """The one number that a query gives, by the HTTP API of Prometheus."""
    answer = http().get(f"{probe.prometheus}/api/v1/query", params={"query": query}).raise_for_status().json()
    data = answer["data"]
    results = [data["result"]] if data["resultType"] == "scalar" else [one["value"] for one in data["result"]]
    if len(results) != 1:
        raise ValueError(f"{len(results)} series and not one")
    value = float(results[0][1])
    if math.isnan(value):
        raise ValueError("no number: NaN")
    return value


def _inconclusive(why: str, evidence: Mapping[str, object] | None = None) -> Verdict:
    return Verdict.model_validate({"health": Health.inconclusive, "why": why, "evidence": evidence or {}})
