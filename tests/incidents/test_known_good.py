"""What was verified healthy: the last word on each version counts, and no answer is no word."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from incidents import events as e
from incidents.known_good import verdicts, versions
from incidents.ledger import Ledger
from incidents.models import Health, Plan, Verdict
from incidents.quarantine import quarantined, target


def judge(ledger: Ledger, version: str, health: Health, subject: str = "dataset:transactions") -> e.Event:
    """Put a verdict about one version on the record."""
    verdict = Verdict(health=health, why=f"{version} is {health}")
    return ledger.append(e.Judged(version=version, verdict=verdict), actor="flow:monitor", subject=subject)


def test_the_last_word_counts(anywhere: Ledger) -> None:
    """A version that was found healthy and then unhealthy is unhealthy, and the other way round."""
    judge(anywhere, "v1", Health.healthy)
    judge(anywhere, "v2", Health.unhealthy)
    judge(anywhere, "v1", Health.unhealthy)
    last = judge(anywhere, "v2", Health.healthy)
    assert versions(anywhere, "dataset:transactions", Health.healthy) == {"v2"}
    assert versions(anywhere, "dataset:transactions", Health.unhealthy) == {"v1"}
    assert verdicts(anywhere, "dataset:transactions")["v2"] == last


def test_no_answer_is_no_word(anywhere: Ledger) -> None:
    """An inconclusive look neither makes a version good nor takes that from it."""
    judge(anywhere, "v1", Health.healthy)
    judge(anywhere, "v1", Health.inconclusive)
    judge(anywhere, "v2", Health.inconclusive)
    assert versions(anywhere, "dataset:transactions", Health.healthy) == {"v1"}
    assert versions(anywhere, "dataset:transactions", Health.inconclusive) == set()


def test_a_digest_in_a_persons_words_does_not_shield_the_content(anywhere: Ledger) -> None:
    """The reason may name another content's sha256: what is shut away is the version's own, which stands last."""
    theirs, own = "a" * 64, "b" * 64
    plan = Plan(
        action="quarantine_model",
        parameters={"model": "fraud", "version": 3},
        target=target("model:fraud"),
        before={"tag": None},
        after={"tag": f"anna: it is like sha256 {theirs}; sha256 {own}"},
        summary="fraud 3 is quarantined",
    )
    for body in (e.Planned(plan=plan), e.Applying(plan=plan.hash, token=1)):
        anywhere.append(body, actor="person:anna", subject=plan.target)
    assert quarantined(anywhere, "model:fraud")["3"].digest == own


def test_assets_do_not_mix(anywhere: Ledger) -> None:
    """The same version of another asset is another version, and other kinds of events say nothing."""
    judge(anywhere, "1", Health.healthy, "model:fraud")
    judge(anywhere, "1", Health.unhealthy, "model:churn")
    seen = e.Checked(phase="watch", verdict=Verdict(health=Health.unhealthy, why=""))
    anywhere.append(seen, actor="flow:model", subject="model:fraud")
    assert versions(anywhere, "model:fraud", Health.healthy) == {"1"}
    assert versions(anywhere, "model:churn", Health.healthy) == set()
    assert versions(anywhere, "dataset:fraud", Health.healthy) == set()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["v1", "v2", "v3"]), st.sampled_from(list(Health))), max_size=12))
def test_it_is_a_fold(ledger: Ledger, said: list[tuple[str, Health]]) -> None:
    """Whatever was said in whatever order: healthy is who was called so last, inconclusive looks left out."""
    subject = f"dataset:d{len(ledger.events())}"
    for version, health in said:
        judge(ledger, version, health, subject)
    last = {version: health for version, health in said if health is not Health.inconclusive}
    for health in (Health.healthy, Health.unhealthy):
        assert versions(ledger, subject, health) == {version for version, found in last.items() if found is health}
