"""The guard against servers that change a tool after it was accepted ("rug pull")."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

from agenthub.domain.entities.catalog.digest import FieldChange, diff
from agenthub.domain.entities.catalog.listing import Catalog, ItemKind
from agenthub.domain.entities.endpoints import Endpoint, EndpointState, Era
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.exceptions import (
    ConflictError,
    DeniedError,
    ErrorKind,
    HubError,
    NotFoundError,
)
from agenthub.domain.ids import EndpointId, InstanceId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.mcp_client import McpClient, McpListener
from agenthub.domain.ports.outbound.storage.definitions import StoredDefinition
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork
from agenthub.domain.services.catalog.approvals import (
    Approvals,
    News,
    PolicyOf,
    accept,
    changed,
    facts_of,
)
from agenthub.domain.services.catalog.offered import offered_by_era
from agenthub.domain.services.directory import Directory

FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0

_logger = logging.getLogger(__name__)


class QuarantinedError(HubError):
    """A tool is held back, because it is no longer what was accepted; nothing was sent."""

    kind = ErrorKind.DECLINED
    code = "tool_quarantined"
    reached_server = False


class DefinitionState(StrEnum):
    """How a tool stands to what was accepted of it."""

    ACCEPTED = "accepted"
    CHANGED = "changed"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class ToolReport:
    """One tool in one era; `is_offered`: the server has it now."""

    row: StoredDefinition
    is_offered: bool

    @property
    def state(self) -> DefinitionState:
        if self.row.pending is None:
            return DefinitionState.ACCEPTED
        return DefinitionState.HELD if self.row.held else DefinitionState.CHANGED

    @property
    def changes(self) -> tuple[FieldChange, ...]:
        """What leads from the accepted to the pending definition."""
        return () if self.row.pending is None else diff(self.row.definition, self.row.pending)


class DefinitionService(McpListener):
    """A resident with one writing task: decides at once in memory, and writes soon after.

    What was decided but not written when the hub is killed is decided again at the next start,
    when the lists are read anew. Attach it before all that tell agents of new lists.
    """

    def __init__(
        self,
        *,
        client: McpClient,
        clock: Clock,
        directory: Directory,
        listen_to_policies: Callable[[Callable[[], None]], None],
        policy_of: PolicyOf,
        uow: UnitOfWork,
    ) -> None:
        self._client = client
        self._clock = clock
        self._directory = directory
        self._uow = uow
        self._approvals = Approvals(policy_of)
        self._judged: dict[EndpointId, list[tuple[Catalog, frozenset[str]]]] = {}
        self._listeners: list[Callable[[EndpointId], None]] = []
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()
        self._tasks = asyncio.TaskGroup()
        self._writer: asyncio.Task[None] | None = None
        directory.listen(self._on_directory)
        listen_to_policies(self._on_policies)

    async def __aenter__(self) -> Self:
        async with self._uow.read(OWNER) as stored:
            self._approvals.load(await stored.definitions.all())
        await self._tasks.__aenter__()
        self._writer = self._tasks.create_task(self._write_on(), name="definitions")
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
        await self._store()

    def listen(self, listener: Callable[[EndpointId], None]) -> None:
        """Call `listener` when tools are held or let go without their list having changed."""
        self._listeners.append(listener)

    def held(self, endpoint_id: EndpointId, catalog: Catalog) -> frozenset[str]:
        """Name the tools of a server's catalogue that must be neither shown nor called.

        A catalogue not seen before is judged here and now, so none gets past.
        """
        for known, held in self._judged.get(endpoint_id, ()):
            if known is catalog:
                return held
        endpoint = self._directory.endpoint(endpoint_id)
        if endpoint is None:
            return frozenset()  # connected on trial: it is not registered
        shown = self._shown(endpoint_id)
        answered = self._client.state(endpoint_id).eras
        eras = [era for era in (Era.MODERN, Era.LEGACY) if shown[era] is catalog]
        eras = sorted(eras, key=lambda era: era not in answered) or [Era.MODERN]
        held = self._approvals.judge(endpoint, tuple(eras), catalog, self._clock.now())
        still = [one for one in self._judged.get(endpoint_id, ()) if one[0] in shown.values()]
        self._judged[endpoint_id] = [*still, (catalog, held)]
        if self._approvals.news:
            self._news.set()
        return held

    def held_tools(self, endpoint_id: EndpointId) -> list[str]:
        """Name the tools that are held in any era, by name."""
        catalogs = self._shown(endpoint_id).values()
        return sorted(set[str]().union(*(self.held(endpoint_id, one) for one in catalogs)))

    def on_state(self, endpoint: Endpoint, state: EndpointState) -> None:
        """States change no definition."""

    def on_catalog(self, endpoint: Endpoint, kinds: tuple[ItemKind, ...]) -> None:
        instance = self._directory.instance(InstanceId(endpoint.id))
        if instance is not None:  # else it is connected on trial
            self.held_tools(instance.endpoint_id)

    def on_resource_updated(self, endpoint: Endpoint, uri: str) -> None:
        """Contents are no definition."""

    def show(self, principal: Principal, id_or_name: str) -> list[ToolReport]:
        """Report every tool ever accepted of a server, by name. Raises NotFoundError."""
        principal.require(Scope.HUB_READ)
        endpoint = self._find(principal, id_or_name)
        names = {
            item.key
            for catalog in self._shown(endpoint.id).values()
            for item in catalog.of(ItemKind.TOOLS)
        }
        return [ToolReport(row, row.tool in names) for row in self._approvals.of(endpoint.id)]

    async def accept(
        self, principal: Principal, id_or_name: str, tool: str, digest: str
    ) -> list[ToolReport]:
        """Accept the pending definition with that digest, in every era that has it.

        Raises NotFoundError, DeniedError; ConflictError where this is not what is pending.
        """
        principal.require(Scope.HUB_WRITE)
        endpoint = self._find(principal, id_or_name)
        if principal.group is not None:
            raise DeniedError("A key bound to a group cannot change servers.", code="group_bound")
        async with self._writing:
            now = self._clock.now()
            rows = self._pending(endpoint, tool, digest)
            accepted = [accept(row, principal.subject, now) for row in rows]
            async with self._uow.begin(principal) as tx:
                await tx.definitions.put(accepted)
                tx.emit(changed(endpoint, accepted[0], now, "accepted"))
                await tx.commit()
            for row in accepted:
                self._approvals.settle(row)
            facts = {**facts_of(endpoint, accepted[0]), "subject": principal.subject}
            _logger.info("a tool's definition is accepted", extra=facts)
        self._rejudge(endpoint.id)
        return [one for one in self.show(principal, endpoint.id) if one.row.tool == tool]

    def _pending(self, endpoint: Endpoint, tool: str, digest: str) -> list[StoredDefinition]:
        rows = self._approvals.of(endpoint.id, tool)
        if not rows:
            text = f"The server {endpoint.name!r} never had a tool {tool!r}."
            raise NotFoundError(text, code="definition_not_found")
        found = [row for row in rows if row.pending_digest == digest]
        if not found:
            text = f"That is not the definition of {tool!r} that waits now; look at it again."
            raise ConflictError(text, code="definition_moved")
        return found

    def _find(self, principal: Principal, id_or_name: str) -> Endpoint:
        endpoint = self._directory.endpoint_named(
            principal.workspace, id_or_name
        ) or self._directory.endpoint(EndpointId(id_or_name))
        if endpoint is not None and endpoint.workspace == principal.workspace:
            group = None if principal.group is None else self._directory.group(principal.group)
            if principal.group is None or (group is not None and group.member(endpoint.id)):
                return endpoint
        raise NotFoundError(f"There is no server {id_or_name!r}.", code="server_not_found")

    def _shown(self, endpoint_id: EndpointId) -> dict[Era, Catalog]:
        return offered_by_era(self._client, self._directory, endpoint_id)

    def _rejudge(self, endpoint_id: EndpointId) -> None:
        before = self._judged.pop(endpoint_id, [])
        self.held_tools(endpoint_id)
        after = self._judged.get(endpoint_id, [])
        if {held for _, held in before} != {held for _, held in after}:
            for listener in self._listeners:
                listener(endpoint_id)

    def _on_policies(self) -> None:
        """What waits is judged as if it had just changed."""
        for endpoint_id in list(self._judged):
            self._rejudge(endpoint_id)

    def _on_directory(self, endpoint_ids: frozenset[EndpointId]) -> None:
        for endpoint_id in endpoint_ids:
            if self._directory.endpoint(endpoint_id) is None:
                self._approvals.forget(endpoint_id)
                self._judged.pop(endpoint_id, None)

    async def _write_on(self) -> None:
        pause_s = FIRST_RETRY_S
        while True:
            await self._news.wait()
            self._news.clear()
            if await self._store():
                pause_s = FIRST_RETRY_S
                continue
            self._news.set()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RETRY_S)

    async def _store(self) -> bool:
        """Write the news down; a failure is logged, keeps them, and never ends the writer."""
        async with self._writing:
            batch, self._approvals.news = self._approvals.news, News({}, {})
            try:
                if batch:
                    await self._write(batch)
            except BaseException as error:
                newer = self._approvals.news
                self._approvals.news = News(
                    {**batch.definitions, **newer.definitions}, {**batch.events, **newer.events}
                )
                if not isinstance(error, Exception):
                    raise
                _logger.exception("definitions could not be stored; trying again")
                return False
        return True

    async def _write(self, batch: News) -> None:
        async with self._uow.begin(OWNER) as tx:
            await tx.definitions.put(list(batch.definitions.values()))
            for event in batch.events.values():
                if self._directory.endpoint(event.endpoint_id) is not None:
                    tx.emit(event)
            await tx.commit()
