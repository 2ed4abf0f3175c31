"""What an agent sees at each endpoint of the hub, and where each name leads."""

from collections.abc import Callable
from dataclasses import dataclass

from agenthub.domain.entities.catalog.exposure import ExposedItem, Target, chosen_uri, expose
from agenthub.domain.entities.catalog.listing import Catalog, ItemKind
from agenthub.domain.entities.catalog.naming import SEPARATOR, expose_name
from agenthub.domain.entities.catalog.uris import split_uri
from agenthub.domain.entities.endpoints import ConnectionStatus, Endpoint, EndpointState, Era
from agenthub.domain.entities.groups import Group, GroupMember
from agenthub.domain.entities.identity import Principal, Scope
from agenthub.domain.exceptions import NotFoundError, UnavailableError
from agenthub.domain.ids import EndpointId, GroupId, InstanceId
from agenthub.domain.ports.outbound.mcp_client import McpClient, McpListener
from agenthub.domain.services.catalog.definitions import DefinitionService, QuarantinedError
from agenthub.domain.services.catalog.offered import is_known, offered
from agenthub.domain.services.directory import Directory

ViewListener = Callable[[EndpointId, tuple[ItemKind, ...]], None]
UpdateListener = Callable[[EndpointId, str], None]


@dataclass(frozen=True, slots=True)
class View:
    """What one MCP path shows to one principal. Equal views show the same.

    `group` limits it to a group's members and chosen items, `server` to one server, whose
    names and URIs then stay untouched.
    """

    principal: Principal
    group: GroupId | None = None
    server: EndpointId | None = None

    @property
    def namespaced(self) -> bool:
        return self.server is None

    def cache_key(self) -> tuple[str, str | None, str | None]:
        return (self.principal.workspace, self.group, self.server)


class Offer:
    """An unchanging snapshot of a view in one era: ordered lists, and an index by exposed key."""

    __slots__ = ("__weakref__", "_index", "_lists", "servers", "stamp")

    def __init__(
        self, lists: dict[ItemKind, tuple[ExposedItem, ...]], servers: frozenset[EndpointId]
    ) -> None:
        self._lists = lists
        self._index: dict[ItemKind, dict[str, ExposedItem]] = {}
        self.servers = servers
        self.stamp: tuple[int, int] = (-1, -1)

    def items(self, kind: ItemKind) -> tuple[ExposedItem, ...]:
        return self._lists[kind]

    def find(self, kind: ItemKind, key: str) -> ExposedItem | None:
        index = self._index.get(kind)
        if index is None:
            # The first of two equal keys wins, as in every list.
            index = {item.key: item for item in reversed(self._lists[kind])}
            self._index[kind] = index
        return index.get(key)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A server's items under their exposed names, as long as all they come from is the same."""

    catalog: Catalog
    name: str
    held: frozenset[str]
    items: dict[ItemKind, tuple[ExposedItem, ...]]


class CatalogService(McpListener):
    """Derives views from the directory and the servers' catalogues, and caches them.

    Tools that `definitions` holds back are in none; without it nothing is held.
    """

    def __init__(
        self,
        *,
        client: McpClient,
        directory: Directory,
        definitions: DefinitionService | None = None,
    ) -> None:
        self._client = client
        self._definitions = definitions
        self._directory = directory
        self._catalog_revision = 0
        self._offers: dict[tuple[object, Era], Offer] = {}
        self._shown: dict[tuple[EndpointId, Era, bool], _Shown] = {}
        self._view_listeners: list[ViewListener] = []
        self._update_listeners: list[UpdateListener] = []
        directory.listen(self._on_directory)
        if definitions is not None:
            definitions.listen(self._on_held)

    def view_all(self, principal: Principal) -> View:
        """The view of `/mcp`; for a key bound to a group, that group's."""
        return View(principal, principal.group)

    def view_group(self, principal: Principal, slug: str) -> View:
        """The view of `/groups/{slug}/mcp`. Raises NotFoundError."""
        group = self._directory.group_at(principal.workspace, slug)
        if group is None or principal.group not in (None, group.id):
            raise NotFoundError(f"There is no group {slug!r}.", code="group_not_found")
        return View(principal, group.id)

    def view_server(self, principal: Principal, name: str) -> View:
        """The view of `/servers/{name}/mcp`; an id serves as well. Raises NotFoundError."""
        endpoint = self._directory.endpoint_named(
            principal.workspace, name
        ) or self._directory.endpoint(EndpointId(name))
        if endpoint is None or endpoint.workspace != principal.workspace:
            raise NotFoundError(f"There is no server {name!r}.", code="server_not_found")
        if principal.group is not None and self._member(principal.group, endpoint.id) is None:
            raise NotFoundError(f"There is no server {name!r}.", code="server_not_found")
        return View(principal, principal.group, endpoint.id)

    def endpoint_of(self, view: View) -> Endpoint | None:
        """The one server of an untouched view, None for a joint one. Raises NotFoundError."""
        if view.server is None:
            return None
        endpoint = self._directory.endpoint(view.server)
        if endpoint is None:
            raise NotFoundError("This server was removed.", code="server_not_found")
        return endpoint

    def state_of(self, endpoint: Endpoint) -> EndpointState:
        return self._client.state(endpoint.id)

    def eras_of(self, endpoint_id: EndpointId) -> tuple[Era, ...]:
        """The eras a server has answered in; none while it was never reached."""
        return self._client.state(endpoint_id).eras

    async def watch(self, view: View, uri: str) -> Target:
        """Have the server report changes of an exposed resource. Each needs its `unwatch`.

        Raises DeniedError, NotFoundError and the errors of `McpClient.watch_resource`.
        """
        view.principal.require(Scope.RESOURCES_READ)
        target = self.find_uri(view, uri)
        if target is None:
            raise NotFoundError(f"Unknown resource: {uri!r}.", code="resource_not_found")
        await self._client.watch_resource(target.endpoint_id, target.key)
        return target

    async def unwatch(self, target: Target) -> None:
        """End one watch."""
        await self._client.unwatch_resource(target.endpoint_id, target.key)

    def group_of(self, view: View) -> Group | None:
        return self._directory.group(view.group) if view.group is not None else None

    def offer(self, view: View, era: Era) -> Offer:
        """Give the present snapshot for agents of `era`. Cheap while nothing changed."""
        stamp = (self._directory.revision, self._catalog_revision)
        key = (view.cache_key(), era)
        offer = self._offers.get(key)
        if offer is None or offer.stamp != stamp:
            if len(self._offers) > 512:
                self._offers.clear()
            offer = self._build(view, era)
            offer.stamp = stamp
            self._offers[key] = offer
        return offer

    def find(self, view: View, era: Era, kind: ItemKind, key: str) -> Target | None:
        """Say where an exposed tool or prompt name leads, None for one the view does not show.

        Raises QuarantinedError for a tool that is held back.
        """
        item = self.offer(view, era).find(kind, key)
        if item is None and kind is ItemKind.TOOLS:
            self._refuse_held(view, era, key)
        return None if item is None else item.target

    def absent(self, view: View, key: str) -> UnavailableError | None:
        """Say why a server that `key` may belong to shows nothing now; None when it is not that."""
        for endpoint, _ in self._members(view):
            mine = not view.namespaced or key.startswith(f"{endpoint.name}{SEPARATOR}")
            state = self._client.state(endpoint.id)
            if not mine or state.status is ConnectionStatus.READY:
                continue
            if state.status is ConnectionStatus.CONNECTING:
                text = f"The server {endpoint.name!r} is still starting; try again in a moment."
                return UnavailableError(text, code="server_starting", retry_after_s=1.0)
            why = state.last_error or "it does not answer"
            text = f"The server {endpoint.name!r} cannot be used now: {why}"
            return UnavailableError(text, code="server_unreachable")
        return None

    def find_uri(self, view: View, uri: str) -> Target | None:
        """Say where an exposed resource URI leads; it need not be listed, templates make more."""
        if view.server is not None:
            endpoint, own = self._directory.endpoint(view.server), uri
        else:
            parts = split_uri(uri)
            if parts is None:
                return None
            server, own = parts
            endpoint = self._directory.endpoint_named(view.principal.workspace, server)
        if endpoint is None or not endpoint.enabled:
            return None
        if view.group is not None:
            member = self._member(view.group, endpoint.id)
            if member is None:
                return None
            if member.resources is not None and not chosen_uri(member.resources, own):
                return None
        return Target(endpoint.id, endpoint.name, own)

    def listen(self, on_change: ViewListener, on_update: UpdateListener) -> None:
        """Call `on_change` when lists of a server change, `on_update` when a watched resource does.

        Neither may block. A change of the directory is told as a change of all kinds of each
        server concerned.
        """
        self._view_listeners.append(on_change)
        self._update_listeners.append(on_update)

    def on_state(self, endpoint: Endpoint, state: EndpointState) -> None:
        """States change no list."""

    def on_catalog(self, endpoint: Endpoint, kinds: tuple[ItemKind, ...]) -> None:
        instance = self._directory.instance(InstanceId(endpoint.id))
        if instance is None:
            return  # connected on trial: no view shows it
        if not instance.is_own and is_known(self._client.catalog(instance.endpoint_id, Era.MODERN)):
            return  # the server's own address tells what it offers
        self._catalog_revision += 1
        self._tell(instance.endpoint_id, kinds)

    def on_resource_updated(self, endpoint: Endpoint, uri: str) -> None:
        for listener in self._update_listeners:
            listener(endpoint.id, uri)

    def _on_held(self, endpoint_id: EndpointId) -> None:
        self._catalog_revision += 1
        self._tell(endpoint_id, (ItemKind.TOOLS,))

    def _on_directory(self, endpoint_ids: frozenset[EndpointId]) -> None:
        for endpoint_id in endpoint_ids:
            for key in [key for key in self._shown if key[0] == endpoint_id]:
                del self._shown[key]
            self._tell(endpoint_id, tuple(ItemKind))

    def _tell(self, endpoint_id: EndpointId, kinds: tuple[ItemKind, ...]) -> None:
        for listener in self._view_listeners:
            listener(endpoint_id, kinds)

    def _build(self, view: View, era: Era) -> Offer:
        lists: dict[ItemKind, list[ExposedItem]] = {kind: [] for kind in ItemKind}
        servers: set[EndpointId] = set()
        for endpoint, member in self._members(view):
            servers.add(endpoint.id)
            exposed = self._exposed(endpoint, era, namespaced=view.namespaced)
            for kind in ItemKind:
                lists[kind] += [
                    item
                    for item in exposed[kind]
                    if member is None or _is_chosen(member, kind, item.target.key)
                ]
        frozen = {kind: tuple(items) for kind, items in lists.items()}
        return Offer(frozen, frozenset(servers))

    def _exposed(
        self, endpoint: Endpoint, era: Era, *, namespaced: bool
    ) -> dict[ItemKind, tuple[ExposedItem, ...]]:
        """Rename a server's items once per catalogue: another server's change costs nothing."""
        catalog = offered(self._client, self._directory, endpoint.id, era)
        held = self._held(endpoint, catalog)
        key = (endpoint.id, era, namespaced)
        kept = self._shown.get(key)
        same = kept is not None and kept.catalog is catalog and kept.held == held
        if kept is None or not same or kept.name != endpoint.name:
            items = {
                kind: tuple(
                    expose(item, endpoint.id, endpoint.name, namespaced=namespaced)
                    for item in catalog.of(kind)
                    if kind is not ItemKind.TOOLS or item.key not in held
                )
                for kind in ItemKind
            }
            kept = self._shown[key] = _Shown(catalog, endpoint.name, held, items)
        return kept.items

    def _held(self, endpoint: Endpoint, catalog: Catalog) -> frozenset[str]:
        if self._definitions is None:
            return frozenset()
        return self._definitions.held(endpoint.id, catalog)

    def _refuse_held(self, view: View, era: Era, key: str) -> None:
        """Raise QuarantinedError if `key` names a tool that this view would show, were it free."""
        for endpoint, member in self._members(view):
            for tool in self._held(
                endpoint, offered(self._client, self._directory, endpoint.id, era)
            ):
                name = expose_name(endpoint.name, tool) if view.namespaced else tool
                chosen = member is None or _is_chosen(member, ItemKind.TOOLS, tool)
                if name == key and chosen:
                    text = f"The tool {key!r} of the server {endpoint.name!r} is held back: what it"
                    text += " does or says changed since it was accepted. A person must look at"
                    text += f" the change (agenthub definitions ls {endpoint.name}) and accept it"
                    raise QuarantinedError(f"{text} at the hub.")

    def _members(self, view: View) -> list[tuple[Endpoint, GroupMember | None]]:
        """List the enabled servers of a view, each with the choice of items, if any."""
        found: list[tuple[Endpoint, GroupMember | None]] = []
        for endpoint in self._directory.endpoints(view.principal.workspace):
            if not endpoint.enabled or view.server not in (None, endpoint.id):
                continue
            member = None
            if view.group is not None:
                member = self._member(view.group, endpoint.id)
                if member is None:
                    continue
            found.append((endpoint, member))
        return found

    def _member(self, group_id: GroupId, endpoint_id: EndpointId) -> GroupMember | None:
        group = self._directory.group(group_id)
        return None if group is None else group.member(endpoint_id)


def _is_chosen(member: GroupMember, kind: ItemKind, key: str) -> bool:
    match kind:
        case ItemKind.TOOLS:
            return member.tools is None or key in member.tools
        case ItemKind.PROMPTS:
            return member.prompts is None or key in member.prompts
        case ItemKind.RESOURCES:
            return member.resources is None or chosen_uri(member.resources, key)
        case ItemKind.TEMPLATES:
            return member.resources is None or key in member.resources
