"""Enters and leaves the residents, in one task, in their order."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

Resident = AbstractAsyncContextManager[Any]


@asynccontextmanager
async def living(residents: Sequence[Resident]) -> AsyncGenerator[None]:
    """Keep all residents alive inside the block; leave them backwards, whatever happens.

    A resident that fails to start closes those before it, and its error stays bare.
    """
    async with AsyncExitStack() as stack:
        for resident in residents:
            await stack.enter_async_context(resident)
        yield
