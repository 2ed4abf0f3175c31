"""Making, changing and removing groups."""

from dataclasses import dataclass, replace
from typing import Any

from agenthub.domain.entities.groups import Group, GroupMember
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.event import CatalogChanged
from agenthub.domain.exceptions import DeniedError, FieldFault, InvalidError, NotFoundError
from agenthub.domain.ids import EndpointId, GroupId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.storage.unit_of_work import Transaction, UnitOfWork
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.identity import IdentityService

PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberDraft:
    """One member by the server's id or name; None means all items of a kind."""

    server: str
    tools: frozenset[str] | None = None
    resources: frozenset[str] | None = None
    prompts: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDraft:
    slug: str
    name: str
    description: str = ""
    members: tuple[MemberDraft, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPatch:
    """What is to change; None leaves a field as it is. `members` replaces them all."""

    slug: str | None = None
    name: str | None = None
    description: str | None = None
    members: tuple[MemberDraft, ...] | None = None


class GroupService:
    """Keeps groups, and the directory in step with them."""

    def __init__(
        self,
        *,
        clock: Clock,
        directory: Directory,
        identity: IdentityService,
        ids: IdFactory,
        uow: UnitOfWork,
    ) -> None:
        self._clock = clock
        self._directory = directory
        self._identity = identity
        self._ids = ids
        self._uow = uow

    async def load(self) -> None:
        """Read all groups of the workspace into the directory."""
        after = None
        while True:
            async with self._uow.read(OWNER) as stored:
                page = await stored.groups.page(limit=PAGE, after=after)
            for group in page:
                self._directory.put_group(group)
            if len(page) < PAGE:
                return
            after = page[-1].slug

    async def create(self, principal: Principal, draft: GroupDraft) -> Group:
        """Make a group. Raises InvalidError, ConflictError, DeniedError."""
        _may_write(principal)
        now = self._clock.now()
        group = Group(
            id=GroupId(self._ids.new()),
            workspace=principal.workspace,
            slug=draft.slug,
            name=draft.name,
            description=draft.description,
            members=self._members(principal, draft.members),
            created_at=now,
            updated_at=now,
        )
        async with self._uow.begin(principal) as tx:
            await tx.groups.add(group)
            self._announce(tx, group)
            await tx.commit()
        self._directory.put_group(group)
        return group

    async def page(self, principal: Principal, *, limit: int, after: str | None) -> list[Group]:
        """List groups by slug; `after` is the last slug of the page before."""
        principal.require(Scope.HUB_READ)
        async with self._uow.read(principal) as stored:
            if principal.group is None:
                return await stored.groups.page(limit=limit, after=after)
            own = await stored.groups.find(principal.group)
        return [own] if own is not None and (after is None or own.slug > after) else []

    async def get(self, principal: Principal, id_or_slug: str) -> Group:
        """Give one group. Raises NotFoundError."""
        principal.require(Scope.HUB_READ)
        async with self._uow.read(principal) as stored:
            group = await stored.groups.find(id_or_slug)
        if group is None or principal.group not in (None, group.id):
            raise _not_found(id_or_slug)
        return group

    async def update(self, principal: Principal, id_or_slug: str, patch: GroupPatch) -> Group:
        """Change a group. Raises NotFoundError, InvalidError, ConflictError, DeniedError."""
        _may_write(principal)
        given = {"slug": patch.slug, "name": patch.name, "description": patch.description}
        changes: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
        if patch.members is not None:
            changes["members"] = self._members(principal, patch.members)
        async with self._uow.begin(principal) as tx:
            stored = await tx.groups.find(id_or_slug)
            if stored is None:
                raise _not_found(id_or_slug)
            group = replace(stored, **changes, updated_at=self._clock.now())
            await tx.groups.save(group)
            self._announce(tx, group)
            await tx.commit()
        self._directory.put_group(group)
        return group

    async def remove(self, principal: Principal, id_or_slug: str) -> None:
        """Remove a group; keys bound to it are revoked with it. Raises NotFoundError."""
        _may_write(principal)
        async with self._uow.begin(principal) as tx:
            group = await tx.groups.find(id_or_slug)
            if group is None:
                raise _not_found(id_or_slug)
            await tx.groups.remove(group.id)
            self._announce(tx, group)
            await tx.commit()
        self._directory.drop_group(group.id)
        self._identity.forget_group(group.id)

    def server_name(self, endpoint_id: EndpointId) -> str:
        """Give a member's name, for a person to read."""
        endpoint = self._directory.endpoint(endpoint_id)
        return endpoint_id if endpoint is None else endpoint.name

    def _members(
        self, principal: Principal, drafts: tuple[MemberDraft, ...]
    ) -> tuple[GroupMember, ...]:
        members: list[GroupMember] = []
        for index, draft in enumerate(drafts):
            endpoint = self._directory.endpoint_named(
                principal.workspace, draft.server
            ) or self._directory.endpoint(EndpointId(draft.server))
            if endpoint is None or endpoint.workspace != principal.workspace:
                fault = FieldFault(("members", index, "server"), "there is no such server")
                raise InvalidError(
                    f"members.{index}.server: there is no server {draft.server!r}.",
                    faults=(fault,),
                )
            members.append(
                GroupMember(
                    endpoint_id=endpoint.id,
                    tools=draft.tools,
                    resources=draft.resources,
                    prompts=draft.prompts,
                )
            )
        return tuple(members)

    def _announce(self, tx: Transaction, group: Group) -> None:
        tx.emit(
            CatalogChanged(
                workspace=group.workspace,
                at=self._clock.now(),
                server=None,
                kinds=("groups",),
                counts={},
            )
        )


def _not_found(id_or_slug: str) -> NotFoundError:
    return NotFoundError(f"There is no group {id_or_slug!r}.", code="group_not_found")


def _may_write(principal: Principal) -> None:
    principal.require(Scope.HUB_WRITE)
    if principal.group is not None:
        raise DeniedError("A key bound to a group cannot change groups.", code="group_bound")
