"""What a suite found in one version of a dataset, and what that says of its health."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from expectations.answers import AHEAD, Failure
from incidents.models import Frozen, Health, Verdict


class Validation(Frozen):
    """What a suite found in one version of a dataset."""

    suite: str
    #: Of the suite as it was then; ``fingerprint`` says it as it is now.
    fingerprint: str = ""
    #: Rows in all files together.
    rows: int
    #: How many of them were looked at, where it was a sample; None where it was all of them.
    sampled: int | None = None
    #: How many expectations the suite has, and how many of them were really evaluated.
    expectations: int
    evaluated: int
    #: Those that were not to be asked, each with the reason: there is nothing yet to compare with.
    skipped: tuple[str, ...] = ()
    #: The version that it was compared with; None where it was with none.
    reference: str | None = None
    #: The worst first.
    failures: tuple[Failure, ...]
    #: Great Expectations' validation result, its lists cut short; ``docs.render`` makes a page of it.
    result: dict[str, JsonValue]

    @property
    def late(self) -> bool:
        """Whether all that is critical is that it is not fresh: nothing is said against what the version holds."""
        critical = [one for one in self.failures if one.severity == "critical"]
        fresh = "expect_column_age_to_be_less_than"
        only_that = {one.expectation for one in critical} == {fresh} and not any(one.error for one in self.failures)
        # a time of next year is no matter of waiting: what the version holds is wrong
        return only_that and not any(one.observed.endswith(AHEAD) for one in critical)

    @property
    def verdict(self) -> Verdict:
        """Unhealthy by a critical failure, inconclusive without an answer, healthy otherwise."""
        evidence = self.model_dump(mode="json", exclude={"result"})
        of = "" if self.sampled is None else f", sampled {self.sampled} of {self.rows} rows"

        def say(health: Health, why: str) -> Verdict:
            return Verdict(health=health, why=f"{self.suite}{of}: {why}", evidence=evidence)

        bad = [one for one in self.failures if not one.error]
        unknown = [one for one in self.failures if one.error]
        critical = [one for one in bad if one.severity == "critical"]
        unanswered = [one for one in unknown if one.severity == "critical"]
        if not self.rows or self.sampled == 0:
            return say(Health.inconclusive, "there are no rows, and no data is not health")
        if critical:
            return say(Health.unhealthy, _few(critical))
        if unanswered:
            return say(Health.inconclusive, f"could not evaluate {_few(unanswered)}")
        if not self.evaluated or self.evaluated + len(unknown) + len(self.skipped) != self.expectations:
            return say(Health.inconclusive, f"only {self.evaluated} of {self.expectations} expectations evaluated")
        met = f"{self.rows} rows meet {self.evaluated - len(bad)} of {self.expectations} expectations"
        if self.skipped:
            met += f"; {len(self.skipped)} not asked: {'; '.join(dict.fromkeys(self.skipped))}"
        rest = bad + unknown
        return say(Health.healthy, f"{met}; not critical: {_few(rest)}" if rest else met)


def _few(failures: Sequence[Failure]) -> str:
    """The worst few in one line, and how many more there are."""
    shown = "; ".join(str(one) for one in failures[:3])
    return shown + (f"; and {len(failures) - 3} more" if len(failures) > 3 else "")
