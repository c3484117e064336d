"""``python -m benchmarks``: all of them, then the page; ``python -m benchmarks validate rollback``: just these."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Annotated

import typer

from benchmarks import report
from benchmarks.harness import console
from benchmarks.peers import ROOT


def main(names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(report.BENCHES)}.")] = None) -> None:
    """Run benchmarks one after the other on this machine, which should do nothing else meanwhile."""
    unknown = set(names or ()) - set(report.BENCHES)
    if unknown:
        raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(report.BENCHES)}")
    for name in names or report.BENCHES:
        console.rule(name)
        began = time.monotonic()
        # Each in a process of its own: what one has imported and connected to is not the next one's.
        subprocess.run([sys.executable, "-c", f"from benchmarks.{name} import run; run()"], cwd=ROOT, check=True)
        console.print(f"[dim]{name} took {time.monotonic() - began:.0f} s[/dim]")
    report.write()
    console.print(f"{report.PAGE} is written")


if __name__ == "__main__":
    typer.run(main)
