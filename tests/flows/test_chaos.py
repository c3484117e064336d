"""A few trials of ``make chaos``, and a planted bug that they find. TRIALS=200 runs more."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from demo import servers
from demo.servers import Server
from tests.chaos import lane, mutants
from tests.chaos.script import STORIES, Script
from tests.chaos.system import Parts, parts
from tests.chaos.verdict import HELD_ELSEWHERE, LAWS
from tests.flows.kit import ROOT, System

TRIALS = int(os.environ.get("TRIALS", "2"))
SEED = int(os.environ.get("SEED", "1"))
#: Planted bugs to find here; ``make chaos`` finds them all.
PLANTED = os.environ.get("MUTANTS", "fencing")


@pytest.fixture(scope="module")
def system_parts(system: System, prefect_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """What is broken over and over, with ledgers on both databases."""
    folder = tmp_path_factory.mktemp("chaos")
    with parts(system, folder, prefect_server, servers.postgres(folder)) as made:
        yield made


def test_nothing_is_lost_done_twice_or_overwritten_whatever_dies(system_parts: Parts) -> None:
    """Laws 1, 2, 3, 9 and 10 on both databases, whatever is killed and whatever S3 and MLflow answer."""
    told = [lane.one(system_parts, seed, ("sqlite", "postgresql")[seed % 2]) for seed in range(SEED, SEED + TRIALS)]
    assert [trial for trial in told if trial["broken"]] == []
    assert sum(trial["acknowledged"] for trial in told) >= TRIALS
    assert sum(sum(trial["endings"].values()) for trial in told) >= TRIALS


@pytest.mark.parametrize("mutant", [one for one in mutants.MUTANTS if PLANTED in one.name], ids=lambda one: one.name)
def test_a_planted_bug_is_found(
    system: System, prefect_server: Server, mutant: mutants.Mutant, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The harness can fail: it finds the bug, and names the law that it breaks."""
    found = lane.find(system, prefect_server, mutant, tmp_path_factory.mktemp("mutant"))
    assert found["found"], found


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda one: one.name)
def test_every_planted_bug_still_fits_the_code(mutant: mutants.Mutant) -> None:
    """What a mutant replaces is there, once; else it would plant nothing, and prove nothing."""
    mutant.fits(ROOT)


def test_every_law_is_looked_for_by_a_planted_bug_or_held_elsewhere() -> None:
    """Nothing that the harness looks for is without a bug that it was shown to find, and no law is forgotten."""
    assert set().union(*(set(mutant.finds) for mutant in mutants.MUTANTS)) == set(LAWS)
    assert {*LAWS.values(), *HELD_ELSEWHERE} == set(range(1, 13))
    assert [file for files in HELD_ELSEWHERE.values() for file in files if not (ROOT / file).exists()] == []


def test_a_seed_is_one_script_and_every_story_is_told() -> None:
    """A failure is seen again from its seed; among the seeds of a run every story is there, and the whole stack."""
    scripts = [Script.of(seed, "sqlite") for seed in range(1, 201)]
    assert scripts == [Script.of(seed, "sqlite") for seed in range(1, 201)]
    assert {script.story for script in scripts} == set(STORIES)
    assert [script.seed for script in scripts if script.whole] == [51, 100, 151, 200]
