"""From the POST of an alert until the service answers with the good version."""

from __future__ import annotations

import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import track

from benchmarks import system as systems
from benchmarks.harness import compare, record
from benchmarks.system import System
from demo.stage import STORE
from incidents.incident import find
from incidents.ledger import ledger
from incidents.models import Status

ABOUT = """
The demo's whole system on one machine: S3, MLflow, Prefect's server on SQLite, the intake, the worker, and a model
service that looks at its alias every 0.05 s and keeps the version before loaded. For the percentiles, and for where
the time goes, that is all there is; for the comparison Prefect's process worker waits beside the warm one. `model`: an
alert about the model; the live service is measured on rows whose truth is known, and the alias is brought back.
`data`: an alert about the dataset of 200,000 rows; its suite is run before and after, pointer and alias are brought
back. The process worker looks for work every second. The floor is one plain warm script that makes the same calls of
the same libraries and keeps no record: no intake, no ledger, no Prefect. Below it stands where the time goes.
"""
TARGETS = {
    ("model", "process worker"): 8.0,
    ("data", "process worker"): 8.0,
    ("model", "floor"): 0.2,
    ("data", "floor"): 0.2,
    ("model, p50", "1.5 s"): 1.0,
    ("model, p99", "3 s"): 1.0,
    ("data, p50", "1.5 s"): 1.0,
}
REASONS = {
    ("model", "process worker"): "most of ours is what both sides do alike, in S3, MLflow, Prefect and the service",
    ("data", "process worker"): "more than half of the time is the suite, run twice over 200,000 rows, and the "
    "lineage, which both sides do alike: see how near ours is to the floor",
    ("data, p50", "1.5 s"): "the floor, which only calls the libraries, takes half of it here",
}

#: Fixes of each case by each side.
SIDES = {"model": 5, "data": 3}

#: Fixes of each case by ours alone, for the percentiles and for where the time goes.
ALONE = {"model": 30, "data": 6}


def run() -> None:
    """Break and fix: ours alone first, then beside Prefect's process worker, in turns."""
    with tempfile.TemporaryDirectory(prefix="lastgood-bench-") as name, systems.system(Path(name)) as system:
        systems.prefect_is_fresh()
        for case in ALONE:
            _alone(system, case)
        with system.process_worker():
            for case in ALONE:
                ours = partial(_fixed, system, case, "lastgood")
                stock, floor = partial(_fixed, system, case, "stock"), partial(_floor, system, case)
                compare(
                    "alert_to_fix", case, "s", ours, {"process worker": stock, "floor": floor}, n=SIDES[case], warmup=1
                )


def _fixed(system: System, case: str, pool: str) -> float:
    """Break it, post the alert, and return the seconds until the service answers with the good version."""
    asyncio.run(systems.use(pool))
    return _fix(system, case)[0]


def _fix(system: System, case: str) -> tuple[float, float, str]:
    """Seconds, when it began, and the incident."""
    system.break_it()
    began = time.time()
    incident = system.post(case)
    seconds = system.wait_served(system.good[1]) - began
    end = time.time() + 60
    while find(ledger(), incident).status is Status.open and time.time() < end:
        time.sleep(0.05)
    found = find(ledger(), incident)
    if found.status is not Status.resolved:
        raise RuntimeError(f"{incident} ended as {found.status}: {found.events[-1].body}")
    time.sleep(0.5)  # the run ends, and the next child is ready
    return seconds, began, incident


def _alone(system: System, case: str) -> None:
    """Many fixes by ours: how long half of them take, the slowest, and where the time of the middle one goes."""
    fixes = [_fix(system, case) for _ in track(range(ALONE[case] + 1), f"alert_to_fix: {case}, alone", transient=True)]
    taken = sorted(seconds for seconds, _, _ in fixes[1:])
    record("alert_to_fix", f"{case}, p50", "s", {"ours": taken, "1.5 s": [1.5] * len(taken)})
    if case == "model":
        record("alert_to_fix", "model, p99", "s", {"ours": [taken[-1]], "3 s": [3.0] * len(taken)})
    parts: dict[str, list[float]] = {}
    for seconds, began, incident in fixes[1:]:
        before = began
        for name, moment in _marks(incident).items():
            parts.setdefault(name, []).append(max(moment - before, 1e-4))
            before = moment
        parts.setdefault("the service answers with it", []).append(max(began + seconds - before, 1e-4))
    for name, seconds_of_it in parts.items():
        record("alert_to_fix", f"{case}: until {name}", "s", {"ours": seconds_of_it, "the whole": taken})


def _marks(incident: str) -> dict[str, float]:
    """What stands on the record and what Prefect says of when it came to what, in this order."""
    events = find(ledger(), incident).events
    at = {event.body.kind: event.at.timestamp() for event in reversed(events)}
    applied = [event.at.timestamp() for event in events if event.body.kind == "applied"]
    marks = {
        "stored": at["opened"],
        "run asked for": asyncio.run(systems.asked_at(incident)),
        "first line": at["started"],
        "confirmed": at["checked"],
        "planned and decided": at["applying"],
        "applied": applied[0],
    }
    return marks if len(applied) == 1 else {**marks, "verified, and the model's alias set": applied[-1]}


def _floor(system: System, case: str) -> float:
    """The same calls in one plain script: look, compare and set, look again. What it needs is imported already."""
    from flows.checks import DatasetCheck, ModelCheck
    from remediations.clients import registry
    from remediations.datasets import open_store

    system.break_it()
    began = time.time()
    client: Any = registry()
    if case == "data":
        store = open_store(f"{STORE}/transactions", "transactions")
        current = store.current()
        DatasetCheck(dataset="transactions").look()
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        wanted = f"dataset.name = 'transactions' AND dataset.digest = '{current.version}'"
        for found in client.search_runs(experiments, filter_string=wanted):
            client.search_model_versions(f"run_id = '{found.info.run_id}'")
        store.move(store.pointer_to(system.good[0], by="floor"), expect=current)
        DatasetCheck(dataset="transactions").look()
    else:
        ModelCheck(model="fraud").look()
    version = client.get_model_version("fraud", str(system.good[1]))
    assert client.get_run(version.run_id).inputs.dataset_inputs
    if client.get_registered_model("fraud").aliases["champion"] == str(system.broken[1]):
        client.set_registered_model_alias("fraud", "champion", str(system.good[1]))
    assert client.get_registered_model("fraud").aliases["champion"] == str(system.good[1])
    return system.wait_served(system.good[1]) - began
