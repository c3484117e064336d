"""One move of a versioned prefix's keys from one state to another: what is left to do, and doing it."""

from __future__ import annotations

from collections.abc import Sequence

from remediations.datasets.beside import Beside
from remediations.datasets.restore import Keys, Outcome, Step, batches
from remediations.datasets.side_by_side import progress
from remediations.datasets.version_set import VersionSet


def differing(present: VersionSet, wanted: VersionSet, beside: Beside) -> list[Step]:
    """A step for every key that has not, or not surely, the content that it has in ``wanted``."""
    now, want = present.by_path, wanted.by_path
    steps = []
    for path in sorted(now.keys() | want.keys()):
        step = Step(path, now.get(path), want.get(path))
        if not (step.now and step.want and step.now.surely_as(step.want)):
            steps.append(step)
    if not any(_perhaps_a_copy(step) for step in steps):
        return steps
    copies = beside.copies(wanted.version)
    return [step for step in steps if not (step.now and (step.path, step.now.version_id) in copies)]


class KeyMove:
    """The way of the keys from the state ``before`` to the state ``after``."""

    def __init__(self, keys: Keys, beside: Beside, before: VersionSet, after: VersionSet) -> None:
        self._keys = keys
        self._beside = beside
        self._before = before
        self._after = after

    def left(self, present: VersionSet) -> tuple[list[Step], list[str]]:
        """The steps that are left, and the paths that somebody else changed: neither as before nor as after."""
        steps = differing(present, self._after, self._beside)
        if present == self._before:
            return steps, []
        not_as_before = {step.path for step in differing(present, self._before, self._beside)}
        odd = [step for step in steps if step.path in not_as_before]
        # A call that was killed may have copied what the ETag does not tell, without a note: then the content does.
        ours = [step for step in odd if _perhaps_a_copy(step) and self._same(step)]
        self._beside.note_copies(self._after.version, [Outcome(step, step.now, done=True) for step in ours])
        done = {step.path for step in ours}
        changed = [step.path for step in odd if step.path not in done]
        return [step for step in steps if step.path not in done and step.path not in changed], changed

    def run(self, steps: Sequence[Step]) -> list[str]:
        """Take the steps. Where somebody changed a key meanwhile, put back what was changed here; return such paths."""
        taken: list[Outcome] = []
        with progress(f"{self._after.dataset} to {self._after.version}", len(steps)) as advance:
            for batch in batches(steps):
                outcomes = self._keys.take(batch)
                self._beside.note_copies(self._after.version, outcomes)
                taken += [outcome for outcome in outcomes if outcome.done]
                advance(len(batch))
                changed = [outcome.step.path for outcome in outcomes if not outcome.done]
                if changed:
                    self._put_back(taken)
                    return changed
        return []

    def _put_back(self, taken: list[Outcome]) -> None:
        for batch in batches([outcome.back for outcome in taken]):
            self._beside.note_copies(self._before.version, self._keys.take(batch))

    def _same(self, step: Step) -> bool:
        return bool(step.now and step.want and self._keys.same_content(step.now, step.want))


def _perhaps_a_copy(step: Step) -> bool:
    return bool(step.now and step.want and step.now.bytes == step.want.bytes)
