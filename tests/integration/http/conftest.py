"""One served hub per test."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.integration.http.world import Served, served


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncGenerator[Served]:
    async with served(tmp_path) as found:
        yield found
