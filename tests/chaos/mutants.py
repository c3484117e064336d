"""Bugs that are planted on purpose, one for each law: the harness has to find every one of them.

Each is planted in a copy of the packages. What it replaces has to be there exactly once, so a mutant that no longer
fits the code fails by itself.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import verdict
from tests.flows.kit import ROOT

COPIED = ("flows", "remediations", "expectations", "incidents", "demo", "tests", "playbook.yaml", "prefect.yaml")


@dataclass(frozen=True)
class Mutant:
    """One bug."""

    #: What is wrong with it, in a few words.
    name: str
    #: What the harness has to say.
    finds: tuple[str, ...]
    #: Which trials look for it, as ``Script.of`` has it, and at most how many.
    only: str
    #: File, old text, new text; several of them.
    edits: tuple[tuple[str, str, str], ...]
    trials: int = 30

    def plant(self, folder: Path) -> Path:
        """A copy of the packages, with the bug in it."""
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        self.fits(folder)
        for file, old, new in self.edits:
            (folder / file).write_text((folder / file).read_text().replace(old, new))
        return folder

    def fits(self, folder: Path) -> None:
        """What it replaces is in these packages, once; else it would plant nothing, and prove nothing."""
        for file, old, _ in self.edits:
            assert (folder / file).read_text().count(old) == 1, f"the mutant {self.name!r} no longer fits {file}"


MUTANTS = (
    Mutant(
        "law 1: acknowledged before it is stored",
        (verdict.LOST,),
        "model:web",
        (
            (
                "incidents/intake/app.py",
                "            receipt = await groups.take(sender, body)\n",
                "            from incidents.intake.store import Receipt\n\n"
                "            later = asyncio.get_running_loop().call_later\n"
                "            later(0.1, lambda: asyncio.ensure_future(groups.take(sender, body)))\n"
                "            receipt = Receipt(opened=1)\n",
            ),
        ),
    ),
    Mutant(
        "law 2: the effect before the intent",
        (verdict.NO_INTENT,),
        "model:run",
        (
            (
                "flows/steps.py",
                "        gatekeeper.intend(case.ledger,",
                "        action.apply(plan)\n        gatekeeper.intend(case.ledger,",
            ),
        ),
    ),
    Mutant(
        "law 2: what was begun is done once more",
        (verdict.TWICE,),
        "data:run",
        (
            (
                "remediations/datasets/content.py",
                "        if found == to:\n            return False\n        if found != expect:",
                "        if found not in (to, expect):",
            ),
        ),
        trials=60,
    ),
    Mutant(
        "law 3: set without comparing",
        (verdict.OVERWRITTEN,),
        "model:person",
        (("remediations/aliases.py", "    if found != expect:", "    if found < 0:"),),
    ),
    Mutant(
        "law 3: sent again without looking",
        (verdict.OVERWRITTEN, verdict.TWICE),
        "model:spoil",
        (("remediations/aliases.py", "max_retries=0", "max_retries=2"),),
        trials=60,
    ),
    Mutant(
        "law 4: done because the call returned",
        (verdict.HEALED,),
        "vain",
        (
            (
                "flows/steps.py",
                "    if verdict.health is Health.healthy and symptom is not None:\n        verdict = await watch",
                "    if symptom is None:\n        verdict = await watch",
            ),
        ),
    ),
    Mutant(
        "law 4: of no help, and left so",
        (verdict.LEFT,),
        "vain",
        (
            (
                "flows/steps.py",
                '            await step(f"undo {plan.action}", undo, case, action, plan, verdict.why)',
                "            pass",
            ),
        ),
    ),
    Mutant(
        "law 5: the alert is believed",
        (verdict.ACTED,),
        "gone",
        (
            (
                "flows/looking.py",
                '    look = await step(f"confirm {check.subject}", work)\n',
                '    told = Verdict(health=Health.unhealthy, why="the alert says so")\n'
                "    look = Look(subject=check.subject, verdict=told)\n",
            ),
        ),
    ),
    Mutant(
        "law 6: back by one version",
        (verdict.UNVERIFIED,),
        "model",
        (
            (
                "remediations/revert_model.py",
                "others = sorted(good - {current}, reverse=True)",
                "others = [current - 1]",
            ),
        ),
    ),
    Mutant(
        "law 8: the first gate that says no ends it",
        (verdict.UNGATED,),
        "asked",
        (
            (
                "incidents/decide.py",
                "    gates = tuple(gate(request, playbook, facts) for gate in GATES)\n",
                "    gates = tuple(gate(request, playbook, facts) for gate in GATES)\n"
                "    no = next((place for place, gate in enumerate(gates) if gate.says is not Mode.run), len(gates))\n"
                "    gates = gates[: no + 1]\n",
            ),
        ),
    ),
    Mutant(
        "law 9: a yes to one plan counts for another",
        (verdict.UNAPPROVED,),
        "asked:person",
        (
            ("flows/asking.py", "    if questions.world(plan) != asked.asked.world:\n", "    if not plan.hash:\n"),
            (
                "flows/asking.py",
                "                return asked.plan\n            _void",
                "                case.record(e.Planned(plan=plan), subject=plan.target)\n"
                "                return plan\n            _void",
            ),
            ("incidents/questions.py", " or found.asked.plan != plan.hash:", ":"),
        ),
        trials=60,
    ),
    Mutant(
        "law 10: the fencing token is not looked at",
        (verdict.UNFENCED,),
        "stale",
        (
            (
                "incidents/leases.py",
                "    if row.token != held.token or ",
                "    if row.token < 0 and ",
            ),
        ),
    ),
    Mutant(
        "law 10: nobody settles what has died",
        (verdict.ENDLESS,),
        "model:run",
        (
            (
                "flows/reconcile.py",
                "    if lying.silent:\n        return True\n",
                "    if lying.run:\n        return False\n",
            ),
        ),
    ),
)
