"""Law 12, one word everywhere: file, function, deployment, route, section; and what is generated is current."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from incidents.models import Category
from incidents.playbook import Playbook, load
from remediations import ALL, Remediation

ROOT = Path(__file__).parents[1]
DEPLOYMENTS: list[dict[str, Any]] = YAML(typ="safe").load((ROOT / "prefect.yaml").read_text())["deployments"]
NAMES = {deployment["name"]: deployment for deployment in DEPLOYMENTS}
#: Files in ``flows`` that hold no flow.
WITHOUT_A_FLOW = {
    *("__init__", "asking", "case", "checks", "checks_of", "checks_prometheus", "correcting", "deferring"),
    *("freezing", "hits", "looking", "proving", "ready", "references", "reloading", "rerunning", "retrain"),
    *("service_checks", "steps", "triage"),
}


@pytest.fixture(scope="module")
def playbook() -> Playbook:
    """The shipped playbook."""
    return load(ROOT / "playbook.yaml", {})


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_a_deployment_is_named_like_its_function(deployment: dict[str, Any]) -> None:
    """The entry point is a module, its function has the deployment's name, and the description is the docstring's."""
    module, _, function = deployment["entrypoint"].partition(":")
    flow = getattr(importlib.import_module(module), function)
    assert function == deployment["name"]
    assert "/" not in module
    assert module.rpartition(".")[2] == flow.name
    assert deployment["description"] == flow.description.strip().splitlines()[0]
    assert "lastgood" in deployment["tags"]


def test_every_flow_has_a_deployment() -> None:
    """No file of flows is forgotten in prefect.yaml, and none is deployed that is not there."""
    files = {file.stem for file in (ROOT / "flows").glob("*.py")} - WITHOUT_A_FLOW
    deployed = {deployment["entrypoint"].partition(":")[0].rpartition(".")[2] for deployment in DEPLOYMENTS}
    assert deployed == files


@pytest.mark.parametrize("category", Category)
def test_every_category_is_a_flow_an_owner_and_a_route(category: Category, playbook: Playbook) -> None:
    """What the intake starts for a category exists, and so does the person who takes over."""
    assert NAMES[category]["entrypoint"] == f"flows.{category}:{category}"
    assert playbook.owners[category]
    assert any(route.category is category for route in playbook.routes)


@pytest.mark.parametrize("action", ALL, ids=lambda action: action.name())
def test_every_action_is_a_file_a_rule_and_a_form(action: type[Remediation], playbook: Playbook) -> None:
    """An action's name is its file's, it has a rule in the playbook, a deployment, and it names its permissions."""
    assert action.__module__ == f"remediations.{action.name()}"
    assert action.name() in playbook.actions
    assert NAMES[action.name()]["entrypoint"] == f"flows.by_hand:{action.name()}"
    assert action.permissions
    assert action.__doc__
    for name, field in action.model_fields.items():
        assert field.description, f"{action.name()}.{name} has no description, so its form does not explain itself"


def test_the_playbook_names_no_action_that_is_not_there(playbook: Playbook) -> None:
    """A rule for an action that does not exist is a misspelt rule."""
    assert set(playbook.actions) <= {action.name() for action in ALL}


def test_a_sections_docstring_is_numbered_text() -> None:
    """A section reads like the playbook: one line of what it is for, then numbered steps without a gap."""
    for category in Category:
        flow = getattr(importlib.import_module(f"flows.{category}"), category)
        steps = re.findall(r"^\s*(\d+)\. ", inspect.cleandoc(flow.description), flags=re.MULTILINE)
        assert steps == [str(number) for number in range(1, len(steps) + 1)]
        assert steps


def test_the_readmes_tables_are_the_codes() -> None:
    """The generated tables in the README are what the code says today; `make docs` writes them."""
    from docs.generate import updated

    readme = (ROOT / "README.md").read_text()
    assert updated(readme) == readme


def test_the_page_of_actions_is_the_codes() -> None:
    """docs/actions.md says of every action what the code says today; `make docs` writes it."""
    from docs.generate import actions_page

    assert (ROOT / "docs" / "actions.md").read_text() == actions_page()


def test_no_committed_file_names_a_package_registry() -> None:
    """The lock holds versions and hashes, and no address."""
    hosts = re.compile("|".join(["py" + r"pi\.org", "python" + "hosted", r"registry\.npm" + "js", r"deb\.deb" + "ian"]))
    kept = [ROOT / "requirements.lock", ROOT / "pyproject.toml", ROOT / "Makefile", ROOT / "README.md"]
    assert [file.name for file in kept if hosts.search(file.read_text())] == []
