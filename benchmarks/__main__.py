"""``python -m benchmarks``: all of them, then the page; ``python -m benchmarks validate rollback``: just these."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Annotated

import typer

from benchmarks import report
from benchmarks.harness import console


def main(names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(report.BENCHES)}.")] = None) -> None:
    """Run benchmarks one after the other on this machine, which should do nothing else meanwhile."""
    unknown = set(names or ()) - set(report.BENCHES)
    if unknown:
        raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(report.BENCHES)}")
    for name in names or report.BENCHES:
        console.rule(name)
        began = time.monotonic()
        import_module(f"benchmarks.{name}").run()
        console.print(f"[dim]{name} took {time.monotonic() - began:.0f} s[/dim]")
    report.write()
    console.print(f"{report.PAGE} is written")


if __name__ == "__main__":
    typer.run(main)
