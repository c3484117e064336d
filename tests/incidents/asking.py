"""What the tests of the gates share: a request, a history, and ways to change a playbook in one place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from incidents.decide import decide
from incidents.events import Gate
from incidents.facts import Deed, Facts, Request, TakenBack
from incidents.models import Category, Health, Mode, Plan, Risk, Severity
from incidents.playbook import Playbook

AT = datetime(2026, 11, 23, 7, tzinfo=UTC)
STRICTNESS = {Mode.never: 0, Mode.ask: 1, Mode.run: 2}
PLAN = Plan(
    action="rollback_dataset",
    parameters={"dataset": "transactions"},
    target="dataset:transactions",
    before={"version": "v2"},
    after={"version": "v1"},
    summary="transactions v2 -> v1",
)
REQUEST = Request(
    plan=PLAN,
    category=Category.data,
    severity=Severity.high,
    risk=Risk.medium,
    reversible=True,
    asset="dataset:transactions",
    incident="INC-7",
)


class Clock:
    """A clock that goes only when it is told to."""

    def __init__(self) -> None:
        self.time = AT

    def __call__(self) -> datetime:
        """This moment; a little later each time, as clocks are."""
        self.time += timedelta(microseconds=1)
        return self.time


def asked(**changed: Any) -> Request:
    """The request, with something else in it."""
    return Request.model_validate(REQUEST.model_dump() | changed)


def deed(ago: float, **changed: Any) -> Deed:
    """The same action on the same asset, begun so many seconds ago, and seen to help."""
    fields: dict[str, Any] = {
        "incident": "INC-1",
        "plan": "0" * 64,
        "action": PLAN.action,
        "asset": "dataset:transactions",
        "category": Category.data,
        "severity": Severity.high,
        "at": AT - timedelta(seconds=ago),
        "applied": True,
        "health": Health.healthy,
    }
    return Deed.model_validate(fields | changed)


def facts(**known: Any) -> Facts:
    """What is known at the moment of the tests."""
    return Facts(at=known.pop("at", AT), **known)


def limited(book: Playbook, **limits: Any) -> Playbook:
    """The shipped playbook with other limits."""
    return book.model_copy(update={"limits": book.limits.model_copy(update=limits)})


def trusting(book: Playbook, **rules: Any) -> Playbook:
    """The shipped playbook with other rules for autonomy."""
    return book.model_copy(update={"autonomy": book.autonomy.model_copy(update=rules)})


def gate(name: str, request: Request, book: Playbook, known: Facts) -> Gate:
    """What one gate says."""
    [found] = [one for one in decide(request, book, known).gates if one.name == name]
    return found


deeds = st.builds(
    deed,
    ago=st.floats(0, 8000),
    incident=st.sampled_from(["INC-1", "INC-2"]),
    action=st.sampled_from(["rollback_dataset", "revert_model"]),
    asset=st.sampled_from(["dataset:transactions", "model:fraud"]),
    severity=st.sampled_from(list(Severity)),
    health=st.sampled_from([None, *Health]),
    undone=st.booleans(),
    forgotten=st.booleans(),
)
moments = st.floats(0, 8000).map(lambda ago: AT - timedelta(seconds=ago))


def histories(most: int = 12) -> st.SearchStrategy[tuple[Deed, ...]]:
    """Deeds in the order in which they happened."""
    return st.lists(deeds, max_size=most).map(lambda found: tuple(sorted(found, key=lambda one: one.at)))


knowledge = st.builds(
    Facts,
    at=st.just(AT),
    deeds=histories(),
    firing_since=st.none() | moments,
    reopened=st.lists(moments, max_size=8).map(tuple),
    holder=st.sampled_from(["", "INC-9"]),
    paused=st.sampled_from(["", "anna: a deployment"]),
    frozen=st.sampled_from(["", "INC-4: it is bad"]),
    taken_back=st.none() | st.builds(TakenBack, at=moments, by=st.sampled_from(["", "anna"])),
    in_doubt=st.sampled_from([(), ("INC-3",)]),
)
requests = st.builds(
    asked,
    category=st.sampled_from(list(Category)),
    severity=st.sampled_from(list(Severity)),
    risk=st.sampled_from(list(Risk)),
    reversible=st.booleans(),
    asset=st.sampled_from(["dataset:transactions", None]),
    reach=st.integers(0, 8).map(lambda count: tuple(f"model:m{n}" for n in range(count))),
    incident=st.sampled_from(["", "INC-7"]),
    person=st.sampled_from(["", "anna"]),
)
