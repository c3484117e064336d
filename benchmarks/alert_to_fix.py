"""From the POST of an alert until the service answers with the good version."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import system as systems
from benchmarks.harness import compare, record
from benchmarks.system import System
from demo.stage import STORE
from incidents.incident import find
from incidents.ledger import ledger
from incidents.models import Status

ABOUT = """
The demo's whole system on one machine: S3, MLflow, Prefect's server on SQLite, the intake, the worker, and a model
service that looks at its alias every 0.05 s and keeps the version before loaded. `model`: an alert about the model; the
live service is measured on rows whose truth is known, and the alias is brought back. `data`: an alert about the dataset
of 200,000 rows; its suite is run before and after, pointer and alias are brought back. The process worker looks for
work every second. The floor is one plain warm script that makes the same calls of the same libraries and keeps no
record: no intake, no ledger, no Prefect. Below it stands where the time goes.
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
_SLOWER_DAY = (
    "the machine was slower than ever on this run, where the process worker took 6.48 s instead of 4.61 s: it was "
)
REASONS = {
    ("model", "process worker"): "it was 8.0 before versions were scanned, proven and held to a family of incidents; "
    "that work is the same on both sides, and so weighs more on the quicker one",
    (
        "data",
        "process worker",
    ): "more than half of the time is the suite, run twice over 200,000 rows, and the lineage, "
    "which both sides do alike: see how near ours is to the floor",
    ("model, p99", "3 s"): f"{_SLOWER_DAY}2.85 s then. Of thirty fixes the slowest counts",
    ("data, p50", "1.5 s"): f"{_SLOWER_DAY}1.63 s then, and 1.38 s before versions were scanned, proven and held to a "
    "family of incidents",
}

#: Fixes by each side, and by ours alone for the percentiles.
N, MANY = 5, 30


def run() -> None:
    """Break and fix, in turns."""
    with tempfile.TemporaryDirectory(prefix="lastgood-bench-") as name, systems.system(Path(name)) as system:
        systems.prefect_is_fresh()
        for case in ("model", "data"):
            ours = partial(_fixed, system, case, "lastgood")
            others = {"process worker": partial(_fixed, system, case, "stock"), "floor": partial(_floor, system, case)}
            compare("alert_to_fix", case, "s", ours, others, n=N, warmup=1)
        _percentiles(system)
        for case in ("model", "data"):
            _where(system, case)


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


def _percentiles(system: System) -> None:
    asyncio.run(systems.use("lastgood"))
    taken = sorted(_fix(system, "model")[0] for _ in range(MANY))
    record("alert_to_fix", "model, p50", "s", {"ours": [statistics.median(taken)], "1.5 s": [1.5] * MANY})
    record("alert_to_fix", "model, p99", "s", {"ours": [taken[-1]], "3 s": [3.0] * MANY})
    data = [_fix(system, "data")[0] for _ in range(N)]
    record("alert_to_fix", "data, p50", "s", {"ours": data, "1.5 s": [1.5] * N})


def _where(system: System, case: str) -> None:
    """Where the time goes: what stands on the record, and what Prefect and the service say."""
    parts: dict[str, list[float]] = {}
    for _ in range(N):
        seconds, began, incident = _fix(system, case)
        at = {event.body.kind: event.at.timestamp() for event in reversed(find(ledger(), incident).events)}
        last_applied = [e.at.timestamp() for e in find(ledger(), incident).events if e.body.kind == "applied"][-1]
        asked = asyncio.run(systems.asked_at(incident))
        marks = {
            "stored": at["opened"],
            "run asked for": asked,
            "first line": at["started"],
            "confirmed": at["checked"],
            "planned and decided": at["applying"],
            "applied": at["applied"],
            "verified, and the model's alias set": last_applied,
            "the service answers with it": began + seconds,
        }
        before = began
        for name, moment in marks.items():
            parts.setdefault(name, []).append(max(moment - before, 1e-4))
            before = moment
        parts.setdefault("the whole", []).append(seconds)
    whole = parts.pop("the whole")
    for name, taken in parts.items():
        if case == "model" and name.startswith("verified"):
            continue
        record("alert_to_fix", f"{case}: until {name}", "s", {"ours": taken, "the whole": whole})


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
