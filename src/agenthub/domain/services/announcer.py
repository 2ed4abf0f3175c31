"""Turns what happens at the servers into stored events, without holding the servers up."""

import asyncio
import logging
from types import TracebackType
from typing import Self

from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import Endpoint, EndpointState, Era
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.entities.instances import Instance
from agenthub.domain.event import CatalogChanged, DomainEvent, ServerStatusChanged
from agenthub.domain.ids import InstanceId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.mcp_client import McpClient, McpListener
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork
from agenthub.domain.services.directory import Directory

FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0
MAX_WAITING = 10_000
"""Events kept while the storage cannot be written; beyond it the oldest are dropped."""

_logger = logging.getLogger(__name__)


class Announcer(McpListener):
    """A resident with one writing task. News of the same that follow each other are told once."""

    def __init__(
        self, *, client: McpClient, clock: Clock, directory: Directory, uow: UnitOfWork
    ) -> None:
        self._client = client
        self._clock = clock
        self._directory = directory
        self._uow = uow
        self._waiting: list[DomainEvent] = []
        self._status: dict[str, tuple[str, str | None]] = {}
        self._news = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._writer = self._tasks.create_task(self._write_on(), name="announcer")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.cancel()
        # The error of the block belongs to whoever raised it, not into a group of errors.
        await self._tasks.__aexit__(None, None, None)

    def on_state(self, endpoint: Endpoint, state: EndpointState) -> None:
        instance = self._directory.instance(InstanceId(endpoint.id))
        if instance is None:
            return  # connected on trial: it is not registered
        news = (state.status.value, state.last_error)
        if self._status.get(endpoint.id) == news:
            return
        if len(self._status) >= MAX_WAITING:
            self._status.clear()
        self._status[endpoint.id] = news
        self.say(
            ServerStatusChanged(
                workspace=endpoint.workspace,
                at=self._clock.now(),
                endpoint_id=instance.endpoint_id,
                server=endpoint.name,
                status=state.status.value,
                detail=_detail(instance, state),
            )
        )

    def on_catalog(self, endpoint: Endpoint, kinds: tuple[ItemKind, ...]) -> None:
        if self._directory.endpoint(endpoint.id) is None:
            return  # on trial, or a further instance: its server tells what it offers
        told = {kind.value for kind in kinds}
        last = self._waiting[-1] if self._waiting else None
        if isinstance(last, CatalogChanged) and last.server == endpoint.name:
            told |= set(last.kinds)
            self._waiting.pop()
        self.say(
            CatalogChanged(
                workspace=endpoint.workspace,
                at=self._clock.now(),
                server=endpoint.name,
                kinds=tuple(kind.value for kind in ItemKind if kind.value in told),
                counts=self._client.catalog(endpoint.id, Era.MODERN).counts(),
            )
        )

    def on_resource_updated(self, endpoint: Endpoint, uri: str) -> None:
        """Changes of single resources go to those who subscribed, not into the feed."""

    def say(self, event: DomainEvent) -> None:
        """Have an event stored and told soon. Does not wait."""
        self._waiting.append(event)
        self._news.set()

    async def _write_on(self) -> None:
        pause_s = FIRST_RETRY_S
        while True:
            await self._news.wait()
            self._news.clear()
            batch, self._waiting = self._waiting, []
            if await self._store(batch):
                pause_s = FIRST_RETRY_S
                continue
            self._waiting = [*batch, *self._waiting][-MAX_WAITING:]
            self._news.set()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RETRY_S)

    async def _store(self, batch: list[DomainEvent]) -> bool:
        """Write events down; a failure is logged and never ends the writer."""
        try:
            async with self._uow.begin(OWNER) as tx:
                for event in batch:
                    tx.emit(event)
                await tx.commit()
        except Exception:
            _logger.exception("events could not be stored; trying again")
            return False
        return True


def _detail(instance: Instance, state: EndpointState) -> str | None:
    """Say why, and of which instance where it is not the server's own address."""
    if instance.is_own:
        return state.last_error
    return f"Instance {instance.id}: {state.last_error or state.status.value}"
