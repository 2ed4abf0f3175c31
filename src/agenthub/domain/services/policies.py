"""The gateway's policies: layers of the file and of run time, laid over each other."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import Endpoint
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.entities.resilience.filed import FileLayers
from agenthub.domain.entities.resilience.layers import (
    Document,
    Level,
    canonical,
    merged,
    misfit_at,
    patched,
    whole,
)
from agenthub.domain.entities.resilience.policy import GatewayPolicy
from agenthub.domain.exceptions import (
    ConflictError,
    DeniedError,
    InvalidError,
    NotFoundError,
)
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, WorkspaceId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.mcp_client import McpClient
from agenthub.domain.ports.outbound.storage.policies import StoredLayer
from agenthub.domain.ports.outbound.storage.unit_of_work import Transaction, UnitOfWork
from agenthub.domain.services.directory import Directory

MAX_CACHED = 20_000
MAX_LAYERS = 2_000
"""Stored layers of a workspace: more are nobody's configuration any more."""
MAX_TOOL_NAME = 8_192

BUILT_IN = GatewayPolicy()

_logger = logging.getLogger(__name__)

Key = tuple[EndpointId | None, str | None]


class Place(NamedTuple):
    """Whose policy it is. The file knows a server by its name, the storage by its id."""

    endpoint_id: EndpointId | None = None
    name: str | None = None
    tool: str | None = None

    @property
    def level(self) -> Level:
        if self.tool is not None:
            return Level.TOOL
        return Level.HUB if self.endpoint_id is None and self.name is None else Level.SERVER

    def below(self) -> "Place | None":
        """Give the place whose policy holds where this one says nothing."""
        match self.level:
            case Level.HUB:
                return None
            case Level.SERVER:
                return Place()
            case Level.TOOL:
                return Place(self.endpoint_id, self.name)

    def stands_on(self, other: "Place") -> bool:
        """Say whether the other's layers hold here as well."""
        below = self.below()
        return self == other or (below is not None and below.stands_on(other))

    def words(self) -> str:
        if self.level is Level.HUB:
            return "the hub"
        server = f"the server {self.name or self.endpoint_id!r}"
        return server if self.tool is None else f"the tool {self.tool!r} of {server}"


@dataclass(frozen=True, slots=True)
class Laid:
    """A policy, and why a layer of its own place was left out, if one was."""

    policy: GatewayPolicy
    misfit: InvalidError | None = None


class Layers:
    """All layers there are; a change makes new ones, so that it can be tried first."""

    def __init__(self, file: FileLayers, stored: Mapping[Key, Document]) -> None:
        self.file = file
        self.stored = stored
        self._laid: dict[Place, Laid] = {}

    def at(self, place: Place) -> Iterator[Document]:
        """Give the layers of one place, the weaker first."""
        if place.level is Level.HUB or place.name is not None:
            yield self.file.of(place.name, place.tool)
        if place.level is Level.HUB or place.endpoint_id is not None:
            yield self.stored.get((place.endpoint_id, place.tool), {})

    def lay(self, place: Place) -> Laid:
        """Lay a place's layers over what holds below; one that does not fit is left out.

        What a place leaves as below is the very object from below.
        """
        known = self._laid.get(place)
        if known is not None:
            return known
        below = place.below()
        policy, misfit = BUILT_IN if below is None else self.lay(below).policy, None
        for layer in self.at(place):
            try:
                policy = merged(policy, layer, level=place.level) if layer else policy
            except InvalidError as error:
                misfit = error
        laid = Laid(policy, misfit)
        if place.level is not Level.TOOL:  # there are few enough of the others
            self._laid[place] = laid
        return laid


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """The policy of a hub, server or tool, and its own layers: set at run time, and in the file.

    `warnings` tell of servers and tools that it names, but that are not there now.
    """

    effective: GatewayPolicy
    stored: Document
    file: Document
    warnings: tuple[str, ...] = ()


class PolicyService:
    """Knows every policy without waiting. From weak to strong the layers are: built-in, the
    hub's, the server's, the tool's; on each level what was set at run time outdoes the file.

    A layer that does not fit (the file was changed while the hub was down, or the server got
    another name) is left out with a warning: calls go on.
    """

    def __init__(
        self,
        *,
        client: McpClient,
        clock: Clock,
        directory: Directory,
        file: FileLayers,
        uow: UnitOfWork,
    ) -> None:
        self._client = client
        self._clock = clock
        self._directory = directory
        self._layers = Layers(file, {})
        self._uow = uow
        self._cache: dict[Key, GatewayPolicy] = {}
        self._names: dict[EndpointId, str] = {}
        self._listeners: list[Callable[[], None]] = []
        self._warned: set[str] = set()
        directory.listen(self._on_directory)

    @property
    def file(self) -> FileLayers:
        return self._layers.file

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change of a policy. It must not block."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """Read all layers of the workspace."""
        async with self._uow.read(OWNER) as stored:
            layers = await stored.policies.all()
        self._use(Layers(self.file, _by_key(layers)))

    def of(self, endpoint_id: EndpointId | None, tool: str | None = None) -> GatewayPolicy:
        """Give the policy of the hub, of a server, or of a tool that the server offers."""
        found = self._cache.get((endpoint_id, tool))
        return found if found is not None else self._remember(endpoint_id, tool)

    def use_file(self, file: FileLayers) -> bool:
        """Put the file's layers in place of the former; False: they are the same.

        Raises InvalidError where they do not fit what was set at run time; nothing changes then.
        """
        if file == self.file:
            return False
        news = Layers(file, self._layers.stored)
        self._require_fit(news, Place())
        self._use(news)
        self.warn()
        return True

    def warn(self) -> None:
        """Log what policies name but is not there, each once. Servers must be loaded before."""
        places = {Place(), *self._places(self._layers)}
        found = {text for place in places for text in self._warnings(place)}
        for text in sorted(found - self._warned):
            _logger.warning("%s", text)
        self._warned = found

    def show(
        self, principal: Principal, server: str | None = None, tool: str | None = None
    ) -> PolicyReport:
        """Report a policy and its own layers. Raises NotFoundError, DeniedError."""
        principal.require(Scope.HUB_READ)
        report = self._report(self._place(principal, server, tool))
        # A key bound to a group is not to learn which other servers there are.
        return report if principal.group is None else replace(report, warnings=())

    async def change(
        self,
        principal: Principal,
        server: str | None,
        tool: str | None,
        layer: Mapping[str, Any],
        *,
        replace: bool = False,
    ) -> PolicyReport:
        """Change a stored layer by a merge patch, or put another in its place.

        Raises InvalidError, NotFoundError, ConflictError, DeniedError; then nothing changed.
        """
        place = self._changeable(principal, server, tool)
        async with self._uow.begin(principal) as tx:
            stored = _by_key(await tx.policies.all())
            key = (place.endpoint_id, place.tool)
            body = whole(layer) if replace else patched(stored.get(key, {}), layer)
            news = Layers(self.file, {**stored, key: body})
            self._require_fit(news, place)
            await self._keep(tx, principal, place, news)
        return self._report(place)

    async def reset(
        self, principal: Principal, server: str | None = None, tool: str | None = None
    ) -> None:
        """Drop a stored layer. Raises as `change` does, where others stand on it."""
        await self.change(principal, server, tool, {}, replace=True)

    async def _keep(
        self, tx: Transaction, principal: Principal, place: Place, news: Layers
    ) -> None:
        key = (place.endpoint_id, place.tool)
        stored = {one: body for one, body in news.stored.items() if one != key}
        body = canonical(news.stored[key])
        if not body:
            await tx.policies.remove(*key)
        elif len(stored) >= MAX_LAYERS:
            text = f"There are {MAX_LAYERS:,} policies set at run time; reset some first."
            raise ConflictError(text, code="too_many_policies")
        else:
            stored[key] = body
            now = self._clock.now()
            layer = StoredLayer(
                endpoint_id=place.endpoint_id, tool=place.tool, body=body, updated_at=now
            )
            await tx.policies.put(layer)
        await tx.commit()
        _logger.info("%s changed the policy of %s", principal.subject, place.words())
        self._use(Layers(self.file, stored))
        self.warn()

    def _use(self, layers: Layers) -> None:
        self._layers = layers
        self._cache.clear()
        for listener in self._listeners:
            listener()

    def _remember(self, endpoint_id: EndpointId | None, tool: str | None) -> GatewayPolicy:
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        place = self._known(endpoint_id, tool)
        laid = self._layers.lay(place)
        if laid.misfit is not None:
            text = "a policy of %s is left out: %s"
            _logger.warning(text, place.words(), laid.misfit.message)
        self._cache[endpoint_id, tool] = laid.policy
        return laid.policy

    def _require_fit(self, news: Layers, changed: Place) -> None:
        """Refuse a layer that does not fit, or that breaks a policy which was sound before."""
        own = news.lay(changed).misfit
        if own is not None:
            raise own
        for place in self._places(news):
            misfit = news.lay(place).misfit if place.stands_on(changed) else None
            if misfit is not None and self._layers.lay(place).misfit is None:
                raise misfit_at(place.words(), misfit) from misfit

    def _places(self, layers: Layers) -> set[Place]:
        """Give every server and tool that has a layer."""
        found = {self._known(*key) for key in layers.stored}
        named = [(name, None) for name in layers.file.servers]
        for name, tool in [*named, *layers.file.tools]:
            endpoint = self._directory.endpoint_named(DEFAULT_WORKSPACE, name)
            found.add(Place(None if endpoint is None else endpoint.id, name, tool))
        return found

    def _own(self, place: Place) -> tuple[Document, Document]:
        stored = self._layers.stored.get((place.endpoint_id, place.tool), {})
        is_filed = place.level is Level.HUB or place.name is not None
        return stored, self.file.of(place.name, place.tool) if is_filed else {}

    def _report(self, place: Place) -> PolicyReport:
        stored, file = self._own(place)
        # Not by `of`, which keeps what it gives: here any name of a tool may be asked for.
        policy = self._layers.lay(place).policy
        return PolicyReport(policy, stored, file, self._warnings(place))

    def _warnings(self, place: Place) -> tuple[str, ...]:
        if place.level is Level.HUB:
            text = "agenthub.toml has a policy for the server {!r}, which does not exist."
            names = sorted({*self.file.servers, *(name for name, _ in self.file.tools)})
            return tuple(text.format(n) for n in names if self._find(DEFAULT_WORKSPACE, n) is None)
        fallback = self._layers.lay(place).policy.fallback
        server = place.endpoint_id if fallback is None else fallback.server or place.endpoint_id
        if fallback is None or fallback.tool is None or server is None:
            return ()
        text = f"The fallback of {place.words()} names the"
        endpoint = self._find(DEFAULT_WORKSPACE, server)
        if endpoint is None:
            return (f"{text} server {server!r}, which does not exist.",)
        catalogs = self._client.catalogs(endpoint.id).values()
        tools = {item.key for catalog in catalogs for item in catalog.of(ItemKind.TOOLS)}
        if not tools or fallback.tool in tools:
            return ()
        offers = f"which the server {endpoint.name!r} does not offer now."
        return (f"{text} tool {fallback.tool!r}, {offers}",)

    def _known(self, endpoint_id: EndpointId | None, tool: str | None) -> Place:
        endpoint = None if endpoint_id is None else self._directory.endpoint(endpoint_id)
        return Place(endpoint_id, None if endpoint is None else endpoint.name, tool)

    def _changeable(self, principal: Principal, server: str | None, tool: str | None) -> Place:
        principal.require(Scope.HUB_WRITE)
        place = self._place(principal, server, tool)
        if principal.group is not None:
            text = "A key bound to a group cannot change policies."
            raise DeniedError(text, code="group_bound")
        return place

    def _place(self, principal: Principal, server: str | None, tool: str | None) -> Place:
        if server is None:
            return Place()
        endpoint = self._find(principal.workspace, server)
        if endpoint is None or not self._may_see(principal, endpoint, tool):
            raise NotFoundError(f"There is no server {server!r}.", code="server_not_found")
        if tool is not None and not 0 < len(tool) <= MAX_TOOL_NAME:
            raise InvalidError.at("tool", message=f"must have 1 to {MAX_TOOL_NAME} characters")
        return Place(endpoint.id, endpoint.name, tool)

    def _find(self, workspace: WorkspaceId, id_or_name: str) -> Endpoint | None:
        by_id = self._directory.endpoint(EndpointId(id_or_name))
        if by_id is not None and by_id.workspace == workspace:
            return by_id
        return self._directory.endpoint_named(workspace, id_or_name)

    def _may_see(self, principal: Principal, endpoint: Endpoint, tool: str | None) -> bool:
        if principal.group is None:
            return True
        group = self._directory.group(principal.group)
        member = None if group is None else group.member(endpoint.id)
        return member is not None and (tool is None or member.tools is None or tool in member.tools)

    def _on_directory(self, endpoint_ids: frozenset[EndpointId]) -> None:
        """Follow names, and forget what belongs to servers that are gone."""
        is_moved = False
        for endpoint_id in endpoint_ids:
            endpoint = self._directory.endpoint(endpoint_id)
            name, former = endpoint and endpoint.name, self._names.get(endpoint_id)
            if name == former:
                continue
            self._cache.clear()
            self._layers = Layers(self.file, self._layers.stored)
            is_moved |= self.file.names(name) or self.file.names(former)
            if name is None:
                self._forget(endpoint_id)
            else:
                self._names[endpoint_id] = name
        if is_moved:
            self._use(self._layers)

    def _forget(self, endpoint_id: EndpointId) -> None:
        self._names.pop(endpoint_id, None)
        left = {key: body for key, body in self._layers.stored.items() if key[0] != endpoint_id}
        self._layers = Layers(self.file, left)


def _by_key(layers: list[StoredLayer]) -> dict[Key, Document]:
    return {(layer.endpoint_id, layer.tool): layer.body for layer in layers}
