"""A shell whose hub is in memory."""

import pytest

from tests.unit.adapters.inbound.cli.inbox.kit import Shell


@pytest.fixture
def shell() -> Shell:
    return Shell()
