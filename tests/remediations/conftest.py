"""What several tests of the dataset stores share."""

from __future__ import annotations

import pytest

from tests.remediations.plain_keys import PlainKeys


@pytest.fixture
def keys(versioned_bucket: str) -> PlainKeys:
    """An empty prefix of this test alone."""
    return PlainKeys()
