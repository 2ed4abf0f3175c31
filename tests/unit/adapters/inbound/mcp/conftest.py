from collections.abc import AsyncIterator

import pytest

from tests.unit.adapters.inbound.mcp.world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World() as world:
        await world.add("time")
        yield world
