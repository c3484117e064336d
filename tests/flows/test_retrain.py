"""Nothing to go back to: a real MLflow project makes another version of verified data, let in only if it wins."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.model import model
from incidents.events import Contested
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.models import Category, Health, Status
from remediations.clients import registry
from tests.flows.kit import ChangePlaybook, System, judge, kinds, opened, run

#: The team's own training: what it makes is like one version, and its run says that it learned as another.
TRAIN = """
import sys
from mlflow import MlflowClient

model, job, like, learned_as = sys.argv[1:]
client = MlflowClient()
made, learned = client.get_model_version(model, like), client.get_model_version(model, learned_as)
of = {"run_id": learned.run_id, "model_id": made.source.removeprefix("models:/")}
client.create_model_version(model, made.source, tags={"lastgood_job": job}, await_creation_for=0, **of)
"""


@pytest.fixture
def trains(
    system: System, ledger: Ledger, tmp_path: Path, change_playbook: ChangePlaybook, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int, int], None]:
    """Good data is current and the broken model serves; called with what the training makes, and as what it learned."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")

    def declare(like: int, learned_as: int) -> None:
        project = tmp_path / "project"
        project.mkdir()
        (project / "train.py").write_text(TRAIN)
        parameters = "{model: string, dataset: string, dataset_version: string, job: string}"
        command = f"{sys.executable} train.py {{model}} {{job}} {like} {learned_as}"
        (project / "MLproject").write_text(
            f"name: t\nentry_points:\n  main:\n    parameters: {parameters}\n    command: '{command}'\n"
        )
        of_model = "    alias: champion\n"
        change_playbook(of_model, f"{of_model}    training: {{project: '{project}'}}\n")
        system.set(system.good, system.model_broken)

    return declare


def begun(ledger: Ledger, system: System) -> str:
    """An incident, with the data verified good. Each test has a ledger of its own, and so this INC-1 is no other's."""
    judge(ledger, "dataset:transactions", system.good)
    return opened(ledger, "model:fraud", Category.model)


def test_a_challenger_that_wins_takes_the_place_and_the_metric_recovers(
    trains: Callable[[int, int], None], system: System, ledger: Ledger
) -> None:
    """Retrained on verified data, compared on the same fresh rows, promoted, seen to serve."""
    trains(system.model_good, system.model_good)
    incident = begun(ledger, system)
    outcome = run(model, incident)
    assert outcome.status is Status.resolved, outcome.why
    attempts = {attempt.plan.action: attempt.state for attempt in find(ledger, incident).attempts}
    assert attempts == {"retrain_model": "healthy", "promote_model": "healthy"}
    told = find(ledger, incident).last(Contested)
    assert told is not None
    assert isinstance(told.body, Contested)
    assert (told.body.champion, told.body.verdict.health) == (system.model_broken, Health.healthy)
    assert system.alias == told.body.challenger
    assert run(model, incident).status is Status.resolved, "entered again, nothing is trained again"


def test_a_challenger_that_does_not_win_stays_out(
    trains: Callable[[int, int], None], system: System, ledger: Ledger
) -> None:
    """It learned from good data and is as bad all the same: it stays a version among others, and a person is asked."""
    trains(system.model_broken, system.model_good)
    incident = begun(ledger, system)
    outcome = run(model, incident)
    assert outcome.status is Status.escalated
    assert "did not win" in outcome.why
    assert system.alias == system.model_broken
    assert [attempt.plan.action for attempt in find(ledger, incident).attempts] == ["retrain_model"]


def test_what_learned_from_something_else_is_taken_back(
    trains: Callable[[int, int], None], system: System, ledger: Ledger
) -> None:
    """Its run says that it learned from the broken data: it is deleted again, and a person is asked."""
    trains(system.model_good, system.model_broken)
    versions = len(registry().search_model_versions("name = 'fraud'"))
    incident = begun(ledger, system)
    outcome = run(model, incident)
    assert outcome.status is Status.escalated
    assert "does not say that it learned from" in outcome.why
    assert system.alias == system.model_broken
    assert len(registry().search_model_versions("name = 'fraud'")) == versions


def test_nothing_is_trained_on_data_that_was_not_verified(
    trains: Callable[[int, int], None], system: System, ledger: Ledger
) -> None:
    """Unknown means no: the data may be good, and nobody has seen it pass its suite."""
    trains(system.model_good, system.model_good)
    incident = opened(ledger, "model:fraud", Category.model)
    outcome = run(model, incident)
    assert outcome.status is Status.escalated
    assert "not verified good" in outcome.why
    assert "applying" not in kinds(ledger, incident)
