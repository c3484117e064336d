"""The rehearsal finds what would not work, and the monitor puts on the record what is good."""

from __future__ import annotations

import asyncio

from flows.monitor import monitor
from flows.rehearse import rehearse
from incidents import known_good
from incidents.ledger import Ledger
from incidents.models import Health
from incidents.moves import moves
from remediations.clients import registry
from tests.flows.kit import ChangePlaybook, System, judge


def test_a_rehearsal_says_what_is_missing_and_changes_nothing(system: System, ledger: Ledger) -> None:
    """With nothing verified good there is nowhere to go back to, and the table says so beforehand."""
    system.set(system.broken, system.model_broken)
    found = {line.asset: line for line in asyncio.run(rehearse())}
    assert set(found) == {"dataset:transactions", "model:fraud"}
    assert not any(line.ready for line in found.values())
    assert "verified good" in found["model:fraud"].says
    assert (system.dataset, system.alias) == (system.broken, system.model_broken)


def test_a_rehearsal_plans_every_action_and_asks_the_gates(broken_system: System, ledger: Ledger) -> None:
    """What would work says what it would do, and at which severity it would run by itself."""
    before = len(ledger.events())
    found = {line.asset: line for line in asyncio.run(rehearse())}
    assert all(line.ready for line in found.values())
    assert broken_system.good in found["dataset:transactions"].says
    assert found["model:fraud"].gates == "1 run, 2 run, 3 ask, 4 ask"
    assert len(ledger.events()) == before


def test_the_monitor_makes_good_known(system: System, ledger: Ledger) -> None:
    """After one look the versions in production are known good, and a rollback may go back to them."""
    system.set(system.good, system.model_good)
    _wait_until_served(system)
    asyncio.run(monitor())
    assert known_good.versions(ledger, "dataset:transactions", Health.healthy) == {system.good}
    assert known_good.versions(ledger, "model:fraud", Health.healthy) == {str(system.model_good)}


def test_the_monitor_makes_bad_known(system: System, ledger: Ledger) -> None:
    """A version that fails is no rollback target from then on, also when it was good before."""
    system.set(system.broken, system.model_good)
    judge(ledger, "dataset:transactions", system.broken)
    asyncio.run(monitor())
    assert known_good.versions(ledger, "dataset:transactions", Health.unhealthy) == {system.broken}
    assert known_good.versions(ledger, "dataset:transactions", Health.healthy) == set()


def test_the_monitor_sees_who_moved_what(system: System, ledger: Ledger) -> None:
    """Somebody sets the alias in MLflow and moves the pointer in S3: the next look puts both on the record, once."""
    system.set(system.good, system.model_good)
    asyncio.run(monitor())
    system.set(system.broken, system.model_broken)
    asyncio.run(monitor())
    asyncio.run(monitor())
    champion = [(move.before, move.after, move.by) for move in moves(ledger, "models:/fraud@champion")]
    good, broken = str(system.model_good), str(system.model_broken)
    assert champion == [(None, good, ""), (good, broken, "")]
    current = [(move.before, move.after, move.by) for move in moves(ledger, "dataset:transactions")]
    assert current == [(None, system.good, "test"), (system.good, system.broken, "test")]
    assert len(moves(ledger, "dataset:labelled_transactions")) == 1


def test_a_server_that_is_away_keeps_nobody_from_judging_the_rest(
    system: System, ledger: Ledger, change_playbook: ChangePlaybook
) -> None:
    """A store that does not answer is not a moved pointer, and the verdicts about the others are recorded."""
    system.set(system.good, system.model_good)
    change_playbook("datasets:\n", "datasets:\n  gone: {store: 's3://lastgood-no-such-bucket/x'}\n")
    asyncio.run(monitor())
    assert moves(ledger, "dataset:gone") == []
    assert len(moves(ledger, "dataset:transactions")) == 1
    assert known_good.versions(ledger, "dataset:transactions", Health.healthy) == {system.good}


def _wait_until_served(system: System) -> None:
    """Wait until the service has loaded the champion."""
    import time

    import httpx

    wanted = int(registry().get_registered_model("fraud").aliases["champion"])
    for _ in range(200):
        if httpx.get(f"{system.service.url}/health").json()["version"] == wanted:
            return
        time.sleep(0.1)
    raise AssertionError("the service did not follow the alias")
