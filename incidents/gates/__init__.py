"""Every gate, in the order in which a decision lists them. A gate is a pure function with one answer and its reason.

To add one: write the function in the file of its family, and add it here. Each is asked every time, and the strictest
counts. Gates that hold automation back say ``ask`` at most, because a person who runs an action by hand is the yes
that ``ask`` waits for, and what wears automation out must not stop a person.
"""

from __future__ import annotations

from collections.abc import Callable

from incidents.events import Gate
from incidents.facts import Facts, Request
from incidents.gates.autonomy import autonomy
from incidents.gates.freeze import freeze
from incidents.gates.pace import action_budget, asset_budget, cool_down, flapping, hold_down, storm
from incidents.gates.reach import blast_radius, lease, taken_back
from incidents.gates.rules import critical, declared, matrix, rule, way_back
from incidents.gates.switch import crash, frozen, pause
from incidents.playbook import Playbook

GATES: tuple[Callable[[Request, Playbook, Facts], Gate], ...] = (
    matrix,
    critical,
    rule,
    way_back,
    declared,
    blast_radius,
    autonomy,
    action_budget,
    asset_budget,
    storm,
    cool_down,
    hold_down,
    flapping,
    freeze,
    lease,
    taken_back,
    pause,
    frozen,
    crash,
)
