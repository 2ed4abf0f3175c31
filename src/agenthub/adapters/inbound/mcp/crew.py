"""The tasks of the MCP face: started by one request, outliving it when they must."""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

logger = logging.getLogger(__name__)


class Crew:
    """A resident task group whose members cannot hurt each other.

    An error of a member is logged and ends that member only. Leaving cancels who is left.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._members: set[asyncio.Task[None]] = set()
        self._open = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open = False
        await asyncio.sleep(0)  # a coroutine cancelled before its first step warns
        for member in self._members:
            member.cancel()
        await self._group.__aexit__(None, None, None)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Let `work` run on its own. None, and no work, once the crew has been dismissed."""
        if not self._open:
            work.close()
            return None
        member = self._group.create_task(_guarded(work))
        self._members.add(member)
        member.add_done_callback(self._members.discard)
        # One that is cancelled before its first step would warn that it was never awaited.
        member.add_done_callback(lambda _: work.close())
        return member


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        logger.exception("a task of the MCP face failed")
