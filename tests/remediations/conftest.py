"""What several tests of the dataset stores share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.remediations import kubernetes
from tests.remediations.plain_keys import PlainKeys


@pytest.fixture
def keys(versioned_bucket: str) -> PlainKeys:
    """An empty prefix of this test alone."""
    return PlainKeys()


@pytest.fixture
def kubernetes_api() -> Iterator[kubernetes.Api]:
    """A Deployment behind the documented API of Kubernetes."""
    with kubernetes.served() as api:
        yield api
