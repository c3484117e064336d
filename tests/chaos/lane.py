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
from demo.process import isolate
from tests.chaos import trial
from tests.chaos.script import Script, Story
from tests.chaos.system import Parts, parts
from tests.flows.kit import small_system


@contextmanager
def whole(folder: Path, database: str) -> Iterator[Parts]:
    """A system of its own."""
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
        system = stack.enter_context(small_system(folder))
        postgres = servers.postgres(folder) if database == "postgresql" else None
        yield stack.enter_context(parts(system, folder, postgres))


def one(found: Parts, seed: int, stories: tuple[Story, ...] = ()) -> dict[str, Any]:
    """Run the trial of a seed, and say what came of it."""
    script, start = Script.of(seed, found.database, stories), time.monotonic()
    told: dict[str, Any] = {"seed": seed, "database": found.database, "story": script.story}
    try:
        judged, ran = trial.run(found, script)
    except Exception as error:
        broken = [("did not go through", f"{type(error).__name__}: {error}")]
        print(traceback.format_exc(), file=sys.stderr)
        return {**told, "broken": broken, "script": str(script), "seconds": time.monotonic() - start}
    told |= {"deeds": dict(ran.done), "endings": dict(judged.endings), "broken": judged.broken}
    told |= {"acknowledged": len(ran.acknowledged), "applied": judged.applied, "undone": judged.undone}
    told |= {"people": judged.people, "gaps": judged.gaps, "died": len(ran.died)}
    if judged.broken:
        told["script"] = str(script)
        told["journal"] = [str(change) for change in found.world.journal]
    return {**told, "seconds": round(time.monotonic() - start, 2)}


def main() -> None:
    """``python -m tests.chaos.lane DATABASE STORIES SEED...``, stories as a comma-separated list, ``all`` for all."""
    database, stories, *seeds = sys.argv[1:]
    chosen: Any = () if stories == "all" else tuple(stories.split(","))
    with tempfile.TemporaryDirectory(prefix="lastgood-chaos-", ignore_cleanup_errors=True) as folder:
        try:
            with whole(Path(folder), database) as found:
                for seed in seeds:
                    print(json.dumps(one(found, int(seed), chosen)), flush=True)
        finally:
            if os.environ.get("KEEP"):
                os.system(f"cp -r {folder} {os.environ['KEEP']}")  # noqa: S605  # for whoever looks into a failure


if __name__ == "__main__":
    main()
