"""Where going back is worse than standing still: nothing is moved, people are told, and the asset is held."""

from __future__ import annotations

import asyncio
from typing import Any

from flows import by_hand
from flows.case import Case
from flows.data import data
from flows.freezing import freeze
from flows.model import model
from incidents.events import Froze, Resolved, Thawed
from incidents.history import AUTOMATION
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.models import Category, Status
from remediations import RollbackDataset
from tests.flows.kit import ChangePlaybook, System, kinds, opened, run
from tests.flows.test_gates import lastgood

DATASET = "    suite: transactions\n"
MODEL = "    alias: champion\n"
FREEZE = "    when_bad: freeze\n"


def frozen(ledger: Ledger, incident: str) -> list[str]:
    """The assets that an incident has frozen."""
    return [event.body.asset for event in ledger.events(incident=incident) if isinstance(event.body, Froze)]


def close(ledger: Ledger, incident: str) -> None:
    """A person who took over says that it is over."""
    with ledger.write() as writer:
        over = Resolved(why="handed over")
        writer.append(over, actor="person:anna", incident=incident, subject=find(ledger, incident).asset)


def test_a_dataset_is_frozen_and_held_until_a_person_lifts_it(
    broken_system: System, ledger: Ledger, change_playbook: ChangePlaybook
) -> None:
    """Confirmed, it stays where it is; later incidents ask as well; by hand a person may; thawed, it heals itself."""
    change_playbook(DATASET, DATASET + FREEZE)
    incident = opened(ledger, "dataset:transactions", Category.data)
    before = broken_system.store.current(), broken_system.alias
    outcome = run(data, incident)
    assert outcome.status is Status.escalated
    for said in ("dataset:transactions is frozen", "lastgood thaw", broken_system.broken, "learned from it: fraud"):
        assert said in outcome.why
    assert (broken_system.store.current(), broken_system.alias) == before
    assert frozen(ledger, incident) == ["dataset:transactions"]
    story = [kind for kind in kinds(ledger, incident) if kind not in {"judged", "checked", "moved"}]
    assert story == ["opened", "started", "traced", "froze", "escalated"]

    close(ledger, incident)
    often = "taken_back_minutes: 1440", "taken_back_minutes: 0"
    change_playbook("\n  cool_down_seconds: 5", "\n  cool_down_seconds: 0", *often)
    second = opened(ledger, "dataset:transactions", Category.data)
    assert run(data, second).status is Status.waiting
    assert broken_system.store.current() == before[0]
    assert f"frozen gate: ask, dataset:transactions is frozen, {incident}" in lastgood("why", second)

    action, flow = RollbackDataset(dataset="transactions", because="seen"), by_hand.rollback_dataset
    by_anna: dict[str, Any] = {"asked_by": "anna", "action": action, "incident": second}
    assert asyncio.run(flow(**by_anna, do="apply")).status is Status.resolved
    assert broken_system.dataset == broken_system.good

    broken_system.break_it()
    lastgood("thaw", "dataset:transactions", "--by", "anna", "--because", "the feed is mended")
    third = opened(ledger, "dataset:transactions", Category.data)
    assert run(data, third).status is Status.resolved
    assert broken_system.dataset == broken_system.good


def test_a_model_is_frozen_neither_reverted_nor_trained_anew(
    broken_system: System, ledger: Ledger, change_playbook: ChangePlaybook
) -> None:
    """Its own section leaves the alias, and so does the one on the data it learned from, which does bring that back."""
    change_playbook(MODEL, MODEL + FREEZE)
    incident = opened(ledger, "model:fraud", Category.model)
    outcome = run(model, incident)
    assert (outcome.status, frozen(ledger, incident)) == (Status.escalated, ["model:fraud"])
    assert "recall" in outcome.why
    assert "planned" not in kinds(ledger, incident)

    other = opened(ledger, "dataset:transactions", Category.data)
    outcome = run(data, other)
    assert (outcome.status, frozen(ledger, other)) == (Status.escalated, ["model:fraud"])
    assert (broken_system.dataset, broken_system.alias) == (broken_system.good, broken_system.model_broken)


def test_entered_again_it_is_frozen_once(
    broken_system: System, ledger: Ledger, change_playbook: ChangePlaybook
) -> None:
    """The process died after the freeze went on the record: the next one goes on from there."""
    change_playbook(DATASET, DATASET + FREEZE)
    incident = opened(ledger, "dataset:transactions", Category.data)
    ledger.append(Froze(asset="dataset:transactions", why="bad"), actor="flow:data", incident=incident)
    assert run(data, incident).status is Status.escalated
    assert frozen(ledger, incident) == ["dataset:transactions"]


def test_what_a_person_has_thawed_is_not_called_frozen(ledger: Ledger, change_playbook: ChangePlaybook) -> None:
    """Entered again after a thaw it says so and freezes nothing; a later incident freezes it, and says that instead."""
    change_playbook(DATASET, DATASET + FREEZE)
    asset = "dataset:transactions"
    first, second = (Case(opened(ledger, one, Category.data), actor="test") for one in (asset, "model:fraud"))
    assert f"{asset} is frozen" in str(freeze(first, asset, "bad"))
    for other in ("dataset:labelled_transactions", asset):
        assert "a person has thawed it" not in str(freeze(first, asset, "bad"))
        ledger.append(Thawed(asset=other, why="mended"), actor="person:anna", subject=AUTOMATION)
    said = str(freeze(first, asset, "bad"))
    assert f"{asset} was frozen, a person has thawed it since, and it is left as it is. bad" in said
    assert "is frozen" not in said
    assert f"{asset} is frozen" in str(freeze(second, asset, "bad again"))
    assert f"{asset} is frozen" in str(freeze(first, asset, "bad")), "the last word counts, whoever said it"
    assert [frozen(ledger, case.name) for case in (first, second)] == [[asset], [asset]]
