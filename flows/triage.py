"""Look first: a service's metrics, its recent deployments, the quotas in its way. What was seen goes on the record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flows.case import Case, step
from incidents import events as e
from incidents.ledger import ledger
from incidents.models import Health, now
from remediations.base import CannotPlan
from remediations.clients import aws
from remediations.services import Running, declared, open_service

#: How far back its metric is looked at.
BACK = timedelta(minutes=30)


async def look_first(case: Case, service: str) -> None:
    """Put on the record how busy a service was, what was deployed, and which quotas apply. Once an incident.

    What can't be seen is on the record too, and keeps nobody from going on.
    """
    if case.incident.last(e.Triaged) is None:
        found = await step(f"look first at {service}", seen, service)
        case.record(found, subject=f"service:{service}")


def never_good(service: str) -> bool:
    """Whether the service is at a version that never was verified good, while another one was.

    A good version that is unwell today lacks something else, and no older one brings that.
    """
    if not declared(service).has_versions:
        return False
    judged = ledger().events(subject=f"service:{service}", kinds=["judged"])
    bodies = [event.body for event in judged if isinstance(event.body, e.Judged)]
    good = {body.version for body in bodies if body.verdict.health is Health.healthy}
    return bool(good) and open_service(declared(service)).version() not in good


def seen(service: str) -> e.Triaged:
    """What there is to see now, each by itself."""
    running = open_service(declared(service))
    looks: dict[str, Callable[[Running], Any]] = {
        "copies": lambda one: one.count(),
        "version": lambda one: one.version(),
        "recent": lambda one: one.recent(),
        "metric": _metric,
        "quotas": _quotas,
    }
    evidence: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name, look in looks.items():
        try:
            evidence[name] = look(running)
        except CannotPlan as error:
            missing[name] = str(error)
        except Exception as error:  # an account without that right, a server that is away
            missing[name] = f"{type(error).__name__}: {error}"[:300]
    return e.Triaged(evidence=evidence, missing=missing)


def _metric(running: Running) -> dict[str, Any]:
    """The metric's average and maximum, a point for every 5 minutes."""
    metric = running.metric
    if metric is None:
        raise CannotPlan("there is no metric for it")
    until = now()
    answer = aws("cloudwatch").get_metric_statistics(
        Namespace=metric.namespace,
        MetricName=metric.name,
        Dimensions=[{"Name": name, "Value": value} for name, value in metric.dimensions.items()],
        StartTime=until - BACK,
        EndTime=until,
        Period=300,
        Statistics=["Average", "Maximum"],
    )
    points = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
    lines = [f"{point['Timestamp']:%H:%M} {point['Average']:.1f} {point['Maximum']:.1f}" for point in points]
    return {"name": f"{metric.namespace} {metric.name}", "average and maximum": lines}


def _quotas(running: Running) -> dict[str, float]:
    """The account's limits that end its growth."""
    found: dict[str, float] = {}
    for service, code in running.quotas:
        quota = aws("service-quotas").get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]
        found[str(quota.get("QuotaName", code))] = float(quota["Value"])
    return found
