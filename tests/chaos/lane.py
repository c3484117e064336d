"""One database's trials, in a process of its own: starts a whole system, runs the seeds, says a line after each."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from demo import servers
from demo.process import Server, isolate
from tests.chaos.forked import Forked
from tests.chaos.mutants import MUTANTS, Mutant
from tests.chaos.script import Script
from tests.chaos.system import Parts, parts
from tests.chaos.whole import Whole
from tests.flows.kit import System, small_system


@contextmanager
def own_system(folder: Path) -> Iterator[tuple[System, Server]]:
    """A system of its own, and its Prefect server."""
    isolate(folder)
    with ExitStack() as stack:
        started = [make(folder).start() for make in (servers.s3, servers.mlflow, servers.prefect)]
        for server in started:
            stack.callback(server.stop)
        for server in started:
            server.wait_ready()
            os.environ.update(server.env)
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()
        # The service is told of every change, so it need not ask for them all the time.
        yield stack.enter_context(small_system(folder, reload_seconds=5)), started[-1]


def find(system: System, prefect: Server, mutant: Mutant, folder: Path) -> dict[str, Any]:
    """Plant a bug, and run trials until one of them finds it."""
    code = mutant.plant(folder / "code")
    with parts(system, folder / "parts", prefect, code=code) as found:
        for number in range(1, mutant.trials + 1):
            told = one(found, number, "sqlite", mutant.only)
            laws = [law for law, _ in told["broken"]]
            if set(laws) & set(mutant.finds):
                return {"mutant": mutant.name, "found": number, "says": told["broken"][0], "seconds": told["seconds"]}
    return {"mutant": mutant.name, "found": 0, "says": ("nothing", f"in {mutant.trials} trials"), "seconds": 0}


def one(found: Parts, seed: int, database: str, only: str = "all") -> dict[str, Any]:
    """Run the trial of a seed, and say what came of it."""
    script, start = Script.of(seed, database, only), time.monotonic()
    told: dict[str, Any] = {"seed": seed, "database": database, "story": script.story, "whole": script.whole}
    try:
        with found.ledger(database) as given:
            ran = (Whole if script.whole else Forked)(found, script, *given)
            judged = ran.run()
    except Exception as error:
        broken = [("did not go through", f"{type(error).__name__}: {error}")]
        print(traceback.format_exc(), file=sys.stderr)
        return {**told, "broken": broken, "script": str(script), "seconds": time.monotonic() - start}
    told |= {"deeds": dict(ran.done), "endings": dict(judged.endings), "broken": judged.broken}
    told |= {"acknowledged": len(ran.acknowledged), "applied": judged.applied, "undone": judged.undone}
    told |= {"people": judged.people, "gaps": judged.gaps, "died": ran.died}
    if judged.broken:
        told["script"] = str(script)
        told["journal"] = [str(change) for change in found.world.journal]
    return {**told, "seconds": round(time.monotonic() - start, 2)}


def main() -> None:
    """``python -m tests.chaos.lane DATABASE ONLY SEED...``, ``ONLY`` as ``Script.of`` has it; or ``mutants``."""
    database, only, *seeds = [*sys.argv[1:], "", ""][: max(2, len(sys.argv) - 1)]
    with tempfile.TemporaryDirectory(prefix="lastgood-chaos-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with own_system(folder) as (system, prefect):
            if database == "mutants":
                for place, mutant in enumerate(one for one in MUTANTS if only in one.name):
                    (folder / str(place)).mkdir()
                    print(json.dumps(find(system, prefect, mutant, folder / str(place))), flush=True)
                return
            postgres = servers.postgres(folder) if database == "postgresql" else None
            with parts(system, folder / "parts", prefect, postgres) as found:
                for seed in seeds:
                    print(json.dumps(one(found, int(seed), database, only)), flush=True)


if __name__ == "__main__":
    main()
