"""The world of each action, for ``test_contract``: one class an action, or one for each place that it works in."""

from __future__ import annotations

from tests.remediations.contract import World
from tests.remediations.worlds_data import DATA
from tests.remediations.worlds_deployments import DEPLOYMENTS
from tests.remediations.worlds_infrastructure import INFRASTRUCTURE
from tests.remediations.worlds_models import MODELS
from tests.remediations.worlds_security import SECURITY
from tests.remediations.worlds_stores import STORES

#: Every action needs at least one; a test holds this against ``remediations.ALL``.
WORLDS: tuple[type[World], ...] = (*DATA, *DEPLOYMENTS, *INFRASTRUCTURE, *MODELS, *SECURITY, *STORES)
