"""Writes the README's tables and docs/actions.md from the code: ``python -m docs.generate``. A test holds them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from remediations import ALL, Remediation

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


def actions_page() -> str:
    """docs/actions.md: every action with all that there is to know about it before it runs."""
    lines = [
        "# Actions",
        "",
        "<!-- made by `python -m docs.generate`: change the code, and make it again -->",
        "",
        "Everything that can change production. Each is `lastgood run ACTION`, a form in Prefect's pages, and a step",
        "of a section; whether it runs by itself, the gates decide. What is not reversible always asks a person.",
        "",
        "What AWS must allow is `python -m remediations.policy`: an IAM policy made from your playbook, for its assets",
        "alone, of the actions that may run. A test has moto let each action do all that it does with it, and refuse",
        "it with any permission less. moto can't prove `iam:PassRole`, `s3:GetBucketObjectLockConfiguration`,",
        "`s3:GetObjectVersion`, `s3:ListBucket`, `s3:PutObjectRetention`, `sagemaker:AddTags`,",
        "`sagemaker:StopTrainingJob` and `servicequotas:GetServiceQuota`, and outside of S3 it asks for no resource:",
        "the ARNs of the real things are compared instead. MLflow and Prefect have credentials of their own.",
        "",
    ]
    for action in ALL:
        lines += _page_of(action)
    return "\n".join(lines)


def _page_of(action: type[Remediation]) -> list[str]:
    says = inspect.cleandoc(action.__doc__ or "")
    return [
        f"## `{action.name()}`",
        "",
        says,
        "",
        f"- Section: {action.category}",
        f"- Risk: {action.risk}",
        f"- Reversible: {'yes' if action.reversible else 'no, so it always asks a person'}",
        f"- Applies: {_says(action.apply)}",
        f"- Verified by: {_says(action.verify)}",
        f"- Undo: {_says(action.undo)}",
        "",
        "| parameter | required | what it is |",
        "| --- | --- | --- |",
        *(
            f"| `{name}` | {'yes' if field.is_required() else 'no'} | {field.description} |"
            for name, field in action.model_fields.items()
        ),
        "",
        "Needs:",
        "",
        *(f"- `{permission}`" for permission in action.permissions),
        "",
    ]


def _says(method: Callable[..., object]) -> str:
    return " ".join(inspect.cleandoc(method.__doc__ or "").split("\n\n")[0].split())


def _runs(deployment: dict[str, Any]) -> str:
    schedules = deployment.get("schedules")
    if schedules:
        return f"on schedule (`{schedules[0]['cron']}`), or by a person"
    return "by a person" if "by hand" in deployment["tags"] else "on an alert, or by a person"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(updated(readme.read_text()))
    (ROOT / "docs" / "actions.md").write_text(actions_page())
