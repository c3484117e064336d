"""What was seen: alerts that came, what checks found, what the lineage and the first look at everything said."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from incidents.models import Alert, Category, Frozen, Severity, Verdict


class Opened(Frozen):
    """An incident began, with the alert or the person that began it."""

    kind: Literal["opened"] = "opened"
    category: Category
    severity: Severity
    #: ``dataset:transactions`` or ``model:fraud``; None when the alert named nothing that the playbook knows.
    asset: str | None
    title: str
    alert: Alert | None = None


class Alerted(Frozen):
    """Another alert about the same trouble joined the incident."""

    kind: Literal["alerted"] = "alerted"
    alert: Alert


class AlertEnded(Frozen):
    """The sender says that one of the incident's alerts is over. It is a hint, not a verdict."""

    kind: Literal["alert_ended"] = "alert_ended"
    alert: Alert


class SetAside(Frozen):
    """An alert that could not be read, or that no route matches, was stored and left for a person."""

    kind: Literal["set_aside"] = "set_aside"
    sender: str
    #: SHA-256 of the stored delivery it came in, and its place there, from 0.
    delivery: str
    index: int
    why: str


class Started(Frozen):
    """A flow run took the incident up (again)."""

    kind: Literal["started"] = "started"
    flow: str
    run: str = ""
    #: The run's page in the Prefect UI; empty where there is none.
    url: str = ""


class Checked(Frozen):
    """A check looked at the world: to confirm the alert, or to see whether a fix helped."""

    kind: Literal["checked"] = "checked"
    phase: Literal["confirm", "watch"]
    verdict: Verdict


class Judged(Frozen):
    """One version of an asset was found healthy or not. The history of what was known good is made of these."""

    kind: Literal["judged"] = "judged"
    version: str
    verdict: Verdict


class Scanned(Frozen):
    """The files of one model version were looked through for what runs when they are loaded. Nothing was loaded."""

    kind: Literal["scanned"] = "scanned"
    version: str
    #: SHA-256 over the files that are the model itself; empty where they could not be read.
    digest: str
    verdict: Verdict


class Suspected(Frozen):
    """An asset is said to be hit, and this version of it was in production then. The event's subject is the asset."""

    kind: Literal["suspected"] = "suspected"
    version: str


class Traced(Frozen):
    """The lineage was followed from a bad dataset version to the models that learned from it."""

    kind: Literal["traced"] = "traced"
    dataset: str
    version: str
    #: Registered model -> its versions that learned from the dataset version.
    models: dict[str, list[str]]
    #: The declared models that had one of these in production, and the services that answered with them.
    in_production: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


class Triaged(Frozen):
    """What was looked at first, before anything was decided: metrics, recent deployments, quotas."""

    kind: Literal["triaged"] = "triaged"
    #: What was seen, by what was looked at.
    evidence: dict[str, JsonValue]
    #: What could not be seen, and why; it keeps nobody from going on.
    missing: dict[str, str] = Field(default_factory=dict)


#: Every kind of this family that can stand on the record.
Seen = Opened | Alerted | AlertEnded | SetAside | Started | Checked | Judged | Scanned | Suspected | Traced | Triaged
