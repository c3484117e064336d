"""A real ML system on this machine: ``run`` breaks it and lets it heal; ``up``, ``break``, ``down`` do so in turns."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from demo.stage import ROOT, Places, Stage, prepare, running

T = TypeVar("T")

app = typer.Typer(add_completion=False, help=__doc__)
console = Console(highlight=False)
HOME = ROOT / ".lastgood"
PLACES, PID = HOME / "up" / "places.json", HOME / "up" / "pid"

Rows = Annotated[int, typer.Option(help="rows of each dataset version")]
KillService = Annotated[bool, typer.Option("--kill-service", help="kill the model service before the verification")]

Svg = Annotated[Path | None, typer.Option(help="write what was printed as a picture")]


@app.command()
def run(rows: Rows = 200_000, kill_service: KillService = False, svg: Svg = None) -> None:
    """Start everything, break it, let it heal, stop everything; exits 0 only where the end state was verified."""
    if svg:
        console.record, console.width = True, 110
    began = time.monotonic()
    stage = prepare(_emptied(HOME / "demo"))
    with running(stage, said, partial(_publish, rows)):
        healed = _play(stage, rows, kill_service)
    console.print(f"[dim]It took {time.monotonic() - began:.0f} s, and everything that it started is stopped.[/dim]")
    if svg:
        # Rich's picture asks a font server for its font; what the reader has will do.
        picture = console.export_svg(title="make demo")
        svg.write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL).replace(str(ROOT), "."))
    raise typer.Exit(0 if healed else 1)


@app.command()
def up(rows: Rows = 200_000) -> None:
    """Start the same system, good, and keep it running in the background."""
    if _keeper() is not None:
        console.print("It runs already; [bold]make down[/bold] ends it.")
        raise typer.Exit(1)
    folder = _emptied(HOME / "up")
    log = folder / "keep.log"
    with log.open("wb") as out:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "demo", "keep", "--rows", str(rows)],
            cwd=ROOT,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    PID.write_text(str(keeper.pid))
    with console.status("start S3, MLflow, Prefect, intake and worker; publish, train, look"):
        while not PLACES.exists() and keeper.poll() is None:
            time.sleep(0.2)
    if not PLACES.exists():
        console.print(log.read_text()[-4000:], markup=False)
        raise typer.Exit(1)
    places = Places.model_validate_json(PLACES.read_text())
    console.print(
        f"Prefect UI  {places.prefect}\nMLflow UI   {places.mlflow}\nIntake      {places.intake}/alerts/alertmanager\n"
        f"Model       {places.service}/health\n"
        f"Command     LASTGOOD_HOME={places.env['LASTGOOD_HOME']} .venv/bin/lastgood incidents\n"
        "Break it    make break\nEnd it      make down",
        markup=False,
        soft_wrap=True,
    )


@app.command(hidden=True)
def keep(rows: Rows = 200_000) -> None:
    """Hold the system until told to end; ``up`` starts this in the background."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    stage = prepare(HOME / "up")
    with running(stage, said, partial(_publish, rows)):
        _look(stage)
        stage.places.save(PLACES.with_suffix(".part"))
        PLACES.with_suffix(".part").rename(PLACES)
        signal.pause()


@app.command("break")
def break_it(rows: Rows = 200_000) -> None:
    """Publish a broken feed, retrain on it, and post the alert to the system that ``up`` keeps."""
    from demo import report, story

    if _keeper() is None:
        console.print("Nothing runs; [bold]make up[/bold] starts it.")
        raise typer.Exit(1)
    places = Places.model_validate_json(PLACES.read_text())
    os.environ.update(places.env)
    before = story.look(places)
    said("publish a broken feed, train on it, promote that", story.publish_broken, rows)
    _, incident = story.post_alert(places)
    story.follow(incident, report.Live(console).show)
    console.print(report.worlds(("before", before), ("now", story.look(places))))


@app.command()
def down() -> None:
    """End what ``up`` started."""
    keeper = _keeper()
    if keeper is None:
        console.print("Nothing runs.")
        return
    os.kill(keeper, signal.SIGTERM)
    with console.status("stop everything"):
        while _keeper() is not None:
            time.sleep(0.2)
    shutil.rmtree(HOME / "up", ignore_errors=True)
    console.print("Everything is stopped.")


def said(text: str, work: Callable[..., T], *arguments: object) -> T:
    """Do a piece of work, show that it is under way, and then how long it took."""
    began = time.monotonic()
    with console.status(text):
        result = work(*arguments)
    console.print(f"[green]✓[/green] {text} [dim]{time.monotonic() - began:.1f} s[/dim]")
    return result


def _publish(rows: int) -> None:
    from demo import story

    said(f"publish {rows:,} good transactions, train fraud version 1 on them", story.publish_good, rows)


def _look(stage: Stage) -> None:
    from demo import story

    said("look at everything once, so that good is known to be good (flow: monitor)", story.monitor)
    story.wait_served(stage.places, 1)


def _play(stage: Stage, rows: int, kill_service: bool) -> bool:
    """The story on the screen; True where the system was seen healed."""
    from demo import report, story
    from incidents import audit
    from incidents.ledger import ledger

    places = stage.places
    _look(stage)
    good = story.look(places)
    said(
        "break it: a feed in cents, with nulls and a new category, and version 2 learns from it",
        story.publish_broken,
        rows,
    )
    said("the service follows champion to version 2", story.wait_served, places, 2)
    broken = story.look(places)
    console.print(report.worlds(("good", good), ("broken", broken)))
    if kill_service:
        stage.service.stop()
        console.print("[red]The model service is killed.[/red]")
    answer, incident = story.post_alert(places)
    console.print(f"Alertmanager posts its alert, the intake answers {answer}. From here on nothing is scripted.\n")
    ended = story.follow(incident, report.Live(console).show)
    now = story.look(places)
    wrong = story.problems(good, now)
    whole = audit.verify(ledger())
    chain = f"lastgood audit verify: {whole.events} events, " + ("; ".join(whole.broken) or "the chain is whole")
    table = report.worlds(("good", good), ("broken", broken), ("now", now))
    console.print(report.ending(ended, table, wrong, chain, places))
    return not wrong and not whole.broken and ended.status == "resolved"


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _keeper() -> int | None:
    """The process that keeps the system up; None where there is none."""
    try:
        keeper = int(PID.read_text())
        os.kill(keeper, 0)
    except (OSError, ValueError):
        return None
    return keeper


if __name__ == "__main__":
    app()
