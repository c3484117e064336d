"""Delete what a declared retention rule says may go. Deleted is deleted, so it asks a person.

A file goes only where it is still as the plan saw it, down to its size and the time of its last change. Links are never
followed, and nothing outside of the folder is ever touched.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from incidents.assets import Retention
from incidents.leases import still_ours
from incidents.models import Category, Health, Plan, Risk, Verdict, now
from incidents.playbook import Playbook, playbook
from remediations.base import CannotPlan, CannotUndo, Conflict, Remediation
from remediations.permissions import Statement

#: The most that one plan takes, the oldest first: a plan is on the record for ever, and a person reads it.
MOST = 500

_DAY = 86_400


class FreeDisk(Remediation):
    """Delete the files on a disk that its retention rule does not keep, the oldest first."""

    category: ClassVar[Category] = Category.infrastructure
    risk: ClassVar[Risk] = Risk.high
    reversible: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = ("files: list and delete in FOLDER, by the user that the worker runs as",)

    disk: str = Field(description="The disk, as the playbook declares it, with a retention rule.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:  # noqa: ARG003  # whatever it declares
        """Nothing: the files are this machine's."""
        return ()

    def subject(self) -> str:
        """``disk:scratch``."""
        return f"disk:{self.disk}"

    def plan(self) -> Plan:
        """List what may go, with size and time."""
        rule = self._declared()
        going = _expired(rule)
        before = {str(file.relative_to(rule.folder)): _seen(file) for file in going[:MOST]}
        size = sum(int(seen.partition(" ")[0] or 0) for seen in before.values() if seen)
        left = f", and {len(going) - MOST} more stay for the next time" if len(going) > MOST else ""
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=f"{self.subject()}@{rule.folder}",
            before=dict(before),
            after=dict.fromkeys(before),
            summary=f"nothing on {self.disk} is old enough to go"
            if not before
            else f"{len(before)} files of {self.disk} go, {size} bytes{left}",
            because=(
                f"{rule.pattern} in {rule.folder}, older than {rule.keep_days:g} days",
                f"the newest {rule.keep_at_least} stay in any case",
            ),
        )

    def apply(self, plan: Plan) -> None:
        """Delete each, where all of them that are there still are as the plan saw them."""
        folder = Path(self._declared().folder)
        there = {name: _seen(folder / name) for name in plan.before}
        changed = [name for name, seen in there.items() if seen not in {None, plan.before[name]}]
        if changed:
            raise Conflict(f"{changed[0]} has changed since the plan was made: nothing was deleted")
        for name in plan.before:
            if _seen(folder / name) == plan.before[name]:
                still_ours()
                (folder / name).unlink(missing_ok=True)

    def verify(self, plan: Plan) -> Verdict:
        """See whether they are gone."""
        folder = Path(self._declared().folder)
        folder.lstat()  # a disk that is not there tells nothing
        left = [name for name in plan.before if _seen(folder / name) is not None]
        if left:
            return Verdict(health=Health.unhealthy, why=f"{len(left)} files are still there, {left[0]} for one")
        return Verdict(health=Health.healthy, why=f"{len(plan.before)} files are gone")

    def undo(self, plan: Plan) -> None:
        """Refuse: deleted is deleted."""
        raise CannotUndo(f"{plan.summary}: deleted is deleted")

    def _declared(self) -> Retention:
        disk = playbook().disks.get(self.disk)
        if disk is None or disk.retention is None:
            raise CannotPlan(
                f"the playbook declares no retention rule for {self.disk!r}, so nothing on it is ever deleted"
            )
        return disk.retention


def _expired(rule: Retention) -> list[Path]:
    """The files that the rule does not keep, the oldest first."""
    folder = Path(rule.folder)
    if folder.is_symlink() or not folder.is_dir():
        raise CannotPlan(f"{rule.folder} is no folder here")
    found = [file for file in folder.rglob(rule.pattern) if _within(folder, file) and _seen(file) is not None]
    found.sort(key=lambda file: (file.lstat().st_mtime_ns, str(file)))
    rest = found[: len(found) - rule.keep_at_least] if rule.keep_at_least else found
    until = now().timestamp() - rule.keep_days * _DAY
    return [file for file in rest if file.lstat().st_mtime < until]


def _within(folder: Path, file: Path) -> bool:
    """Whether no part of the way from the folder to the file is a link."""
    parents = list(file.relative_to(folder).parents)[:-1]
    return not any((folder / parent).is_symlink() for parent in parents)


def _seen(file: Path) -> str | None:
    """A regular file's size and the time of its last change; None where there is none."""
    try:
        found = file.lstat()
    except FileNotFoundError:
        return None
    return f"{found.st_size} bytes, {found.st_mtime_ns}" if stat.S_ISREG(found.st_mode) else None
