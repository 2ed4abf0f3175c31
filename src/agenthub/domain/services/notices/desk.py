"""Notifications: who is told of what, and the telling."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.entities.notices.target import DEFAULT_EVENTS, NoticeTarget, TargetKind
from agenthub.domain.exceptions import (
    DeniedError,
    HubError,
    NotFoundError,
    UpstreamError,
)
from agenthub.domain.ids import NoticeTargetId
from agenthub.domain.ports.outbound.clock import Chance, Clock, IdFactory
from agenthub.domain.ports.outbound.notifier import Notice, Notifier
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork
from agenthub.domain.services.events import EventService
from agenthub.domain.services.notices.follower import Follower, Pause, pause

SECRET_CHARS = 32
"""Of six random bits each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDraft:
    """Without a secret a webhook is given one."""

    name: str
    kind: TargetKind
    address: str
    secret: str = ""
    events: tuple[str, ...] = DEFAULT_EVENTS
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPatch:
    """What is to change; None leaves a field as it is."""

    name: str | None = None
    address: str | None = None
    secret: str | None = None
    events: tuple[str, ...] | None = None
    enabled: bool | None = None


class NoticeService:
    """A resident with a task per enabled target. A target hears of what happens while it is one."""

    def __init__(
        self,
        *,
        chance: Chance,
        clock: Clock,
        events: EventService,
        ids: IdFactory,
        notifiers: Sequence[Notifier],
        uow: UnitOfWork,
        pause: Pause = pause,
    ) -> None:
        self._chance = chance
        self._clock = clock
        self._events = events
        self._ids = ids
        self._notifiers = {notifier.kind: notifier for notifier in notifiers}
        self._uow = uow
        self._pause = pause
        self._running: dict[NoticeTargetId, tuple[Follower, asyncio.Task[None]]] = {}
        self._changing = asyncio.Lock()
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        async with self._uow.read(OWNER) as stored:
            targets = await stored.notice_targets.all()
        await self._tasks.__aenter__()
        for target in targets:
            self._begin(target)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _, task in self._running.values():
            task.cancel()
        self._running.clear()
        # The error of the block belongs to whoever raised it, not into a group of errors.
        await self._tasks.__aexit__(None, None, None)

    async def create(self, principal: Principal, draft: TargetDraft) -> NoticeTarget:
        """Tell a new target from now on. Raises InvalidError, ConflictError, DeniedError."""
        _may_change(principal)
        now = self._clock.now()
        target = NoticeTarget(
            id=NoticeTargetId(self._ids.new()),
            workspace=principal.workspace,
            name=draft.name,
            kind=draft.kind,
            address=draft.address,
            secret=draft.secret or self._secret_for(draft.kind),
            events=draft.events,
            enabled=draft.enabled,
            created_at=now,
            updated_at=now,
        )
        self._notifiers[target.kind].check(target)
        async with self._uow.begin(principal) as tx:
            target = replace(target, cursor=await tx.events.last_id())
            await tx.notice_targets.add(target)
            await tx.commit()
        self._begin(target)
        return target

    async def targets(self, principal: Principal) -> list[NoticeTarget]:
        """List all by name."""
        _may_read(principal)
        async with self._uow.read(principal) as stored:
            return await stored.notice_targets.all()

    async def page(
        self, principal: Principal, *, limit: int, after: str | None
    ) -> list[NoticeTarget]:
        """List by name; `after` is the last name of the page before."""
        every = await self.targets(principal)
        return [one for one in every if after is None or one.name > after][:limit]

    async def get(self, principal: Principal, id_or_name: str) -> NoticeTarget:
        """Give one target. Raises NotFoundError."""
        return _found(await self.targets(principal), id_or_name)

    async def update(
        self, principal: Principal, id_or_name: str, patch: TargetPatch
    ) -> NoticeTarget:
        """Change a target. One that is enabled again does not hear of what it missed.

        Raises NotFoundError, InvalidError, ConflictError, DeniedError; then nothing changed.
        """
        _may_change(principal)
        given = {
            "name": patch.name,
            "address": patch.address,
            "secret": patch.secret,
            "events": patch.events,
            "enabled": patch.enabled,
        }
        changes: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
        async with self._changing:
            former = await self.get(principal, id_or_name)
            changed = replace(former, **changes, updated_at=self._clock.now())
            self._notifiers[changed.kind].check(changed)
            last = await self._end(former.id) or former
            try:
                async with self._uow.begin(principal) as tx:
                    kept = _found(await tx.notice_targets.all(), former.id)
                    changed = replace(kept, **changes, updated_at=changed.updated_at)
                    if changed.enabled and not kept.enabled:
                        cursor = await tx.events.last_id()
                        changed = replace(changed, cursor=cursor, last_fault=None)
                    await tx.notice_targets.save(changed)
                    await tx.commit()
            except BaseException:
                self._begin(last)
                raise
            self._begin(changed)
            return changed

    async def remove(self, principal: Principal, id_or_name: str) -> None:
        """Tell a target no more. Raises NotFoundError."""
        _may_change(principal)
        async with self._changing:
            target = await self.get(principal, id_or_name)
            async with self._uow.begin(principal) as tx:
                await tx.notice_targets.remove(target.id)
                await tx.commit()
            await self._end(target.id)

    async def test(self, principal: Principal, id_or_name: str) -> None:
        """Send one notice now, also to a disabled target.

        Raises NotFoundError; UpstreamError (`notice_failed`), which says why it was not taken.
        """
        _may_change(principal)
        target = await self.get(principal, id_or_name)
        notice = Notice(
            id=f"{target.id}-test-{self._ids.new()}",
            at=self._clock.now(),
            event="test",
            facts={"target": target.name},
            title="AgentHub: a test",
            body="Notifications arrive here.",
        )
        try:
            await self._notifiers[target.kind].send(target, notice)
        except HubError as error:
            raise UpstreamError(
                f"The notice was not taken: {error.message}", code="notice_failed"
            ) from error

    def _secret_for(self, kind: TargetKind) -> str:
        """Draw the secret of a webhook: whsec_ and random bytes in base64."""
        if kind is not TargetKind.WEBHOOK:
            return ""
        drawn = self._chance.token(SECRET_CHARS).encode()
        return f"whsec_{base64.b64encode(drawn[:SECRET_CHARS]).decode()}"

    def _begin(self, target: NoticeTarget) -> None:
        if not target.enabled:
            return
        follower = Follower(
            target,
            chance=self._chance,
            clock=self._clock,
            events=self._events,
            notifier=self._notifiers[target.kind],
            pause=self._pause,
            uow=self._uow,
        )
        task = self._tasks.create_task(follower.run(), name=f"notices:{target.name}")
        self._running[target.id] = (follower, task)

    async def _end(self, target_id: NoticeTargetId) -> NoticeTarget | None:
        """Stop telling a target; give it as it was last told."""
        running = self._running.pop(target_id, None)
        if running is None:
            return None
        follower, task = running
        task.cancel()
        await asyncio.wait((task,))
        return follower.target


def _found(targets: Sequence[NoticeTarget], id_or_name: str) -> NoticeTarget:
    for target in targets:
        if id_or_name in (target.id, target.name):
            return target
    raise NotFoundError(f"There is no notification target {id_or_name!r}.", code="target_not_found")


def _may_read(principal: Principal) -> None:
    principal.require(Scope.HUB_READ)
    if principal.group is not None:
        raise DeniedError("A key bound to a group hears of its group only.", code="group_bound")


def _may_change(principal: Principal) -> None:
    principal.require(Scope.ADMIN)
    _may_read(principal)
