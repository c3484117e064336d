"""What the demo prints: the drop, the timeline as it happens, and the end state."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.stage import Places
from demo.story import World
from incidents.incident import Incident
from incidents.timeline import phases, time_to_mitigate, timeline


class Live:
    """Prints each line of an incident's timeline once, when it is first seen."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed = 0

    def show(self, incident: Incident) -> None:
        """Print what is new."""
        lines = timeline(incident)
        for line in lines[self._printed :]:
            text = Text.assemble((f"{line.at:%H:%M:%S.%f}"[:-3], "dim"), " ", (f"{line.phase:<9}", "cyan"), line.text)
            self._console.print(text, overflow="fold")
        self._printed = len(lines)


def worlds(*columns: tuple[str, World]) -> Table:
    """The state of production at several moments, side by side."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for title, _ in columns:
        table.add_column(title, overflow="fold")
    found = [world for _, world in columns]
    table.add_row("the dataset's pointer in S3", *(world.dataset for world in found))
    table.add_row("fraud@champion in MLflow", *(f"version {world.alias}" for world in found))
    table.add_row("the service answers with", *(f"version {world.served}" for world in found))
    recalls = ("not measured" if world.recall is None else f"{world.recall:.3f}" for world in found)
    table.add_row("its recall, measured", *recalls)
    return table


def ending(incident: Incident, table: Table, wrong: list[str], chain: str, places: Places) -> RenderableType:
    """The durations, the end state, and where to look next."""
    durations = Table(box=box.SIMPLE_HEAD)
    parts = phases(incident)
    for phase in parts:
        durations.add_column(phase.name, justify="right")
    durations.add_column("time to mitigate", justify="right", style="bold")
    mitigated = time_to_mitigate(incident)
    durations.add_row(
        *(_seconds(phase.took.total_seconds() if phase.took is not None else None) for phase in parts),
        _seconds(mitigated.total_seconds() if mitigated else None),
    )
    healed = not wrong and incident.status == "resolved"
    verdict = (
        Panel(f"{incident.name} {incident.status}: the end state was read back and is good.", style="green")
        if healed
        else Panel(f"{incident.name} {incident.status}. " + "; ".join(wrong or ["not resolved"]), style="red")
    )
    return Group(durations, table, verdict, Text(chain), Text(_next(incident, places), style="dim"))


def _next(incident: Incident, places: Places) -> str:
    home = places.env["LASTGOOD_HOME"]
    return (
        f"\nThe post-mortem: {home}/postmortems/{incident.name}.md\n"
        f"The record:      LASTGOOD_HOME={home} .venv/bin/lastgood why {incident.name}\n"
        "Look around:     make up (Prefect UI, MLflow UI, intake), then make break\n"
        "Your own system: playbook.yaml, and the README's next section"
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
