"""Calls that run beside a test."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from agenthub.domain.services.calls import Outcome
from agenthub.domain.services.held import Waiting
from tests.support.waiting import soon

Found = Outcome | Waiting


class Begun:
    """A call under way."""

    def __init__(self, task: asyncio.Task[Found | Exception]) -> None:
        self._task = task

    async def ended(self) -> Found:
        """Wait for what it comes to; its error is raised here."""
        found = await soon(self._task)
        if isinstance(found, Exception):
            raise found
        return found

    @property
    def is_over(self) -> bool:
        return self._task.done()

    def cancel(self) -> None:
        self._task.cancel()


@asynccontextmanager
async def begun(work: Coroutine[Any, Any, Found]) -> AsyncGenerator[Begun]:
    """Run a call while the block lasts."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_caught(work))
        yield Begun(task)
        task.cancel()


async def _caught(work: Coroutine[Any, Any, Found]) -> Found | Exception:
    try:
        return await work
    except Exception as error:  # noqa: BLE001  raised again where the test waits
        return error
