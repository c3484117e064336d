"""Writes the README's tables from the code: ``python -m docs.generate``. A test fails when they drift."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from remediations import ALL

ROOT = Path(__file__).parent.parent


def updated(readme: str) -> str:
    """The README with every generated table made anew."""
    for name, table in {"flows": flows(), "actions": actions()}.items():
        pattern = rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)"
        readme, count = re.subn(pattern, lambda found: found[1] + table + found[2], readme, flags=re.DOTALL)  # noqa: B023  # used at once
        if count != 1:
            raise ValueError(f"README.md needs one place for the table of {name}, it has {count}")
    return readme


def flows() -> str:
    """The deployments, as prefect.yaml has them."""
    deployments: list[dict[str, Any]] = YAML(typ="safe").load((ROOT / "prefect.yaml").read_text())["deployments"]
    lines = ["| flow | what it is for | runs |", "| --- | --- | --- |"]
    for deployment in deployments:
        flow = deployment["entrypoint"].partition(":")[0].rpartition(".")[2]
        lines.append(f"| `{flow}/{deployment['name']}` | {deployment['description']} | {_runs(deployment)} |")
    return "\n".join(lines) + "\n"


def actions() -> str:
    """Everything that can change production."""
    lines = ["| action | what it does | risk | undo |", "| --- | --- | --- | --- |"]
    for action in ALL:
        says = (action.__doc__ or "").strip().splitlines()[0]
        lines.append(f"| `{action.name()}` | {says} | {action.risk} | {'yes' if action.reversible else 'no'} |")
    return "\n".join(lines) + "\n"


def _runs(deployment: dict[str, Any]) -> str:
    schedules = deployment.get("schedules")
    if schedules:
        return f"on schedule (`{schedules[0]['cron']}`), or by a person"
    return "by a person" if "by hand" in deployment["tags"] else "on an alert, or by a person"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(updated(readme.read_text()))
