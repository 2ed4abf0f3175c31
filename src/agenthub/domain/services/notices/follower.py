"""One target of notifications, told of the feed event by event, whatever happens to others."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from agenthub.domain.entities.hitl.request import RequestStatus
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.entities.notices.news import News
from agenthub.domain.entities.notices.target import NoticeTarget
from agenthub.domain.entities.notices.wording import worded
from agenthub.domain.event import ASKED, StoredEvent
from agenthub.domain.exceptions import GoneError, HubError
from agenthub.domain.ids import RequestId
from agenthub.domain.ports.outbound.clock import Chance, Clock
from agenthub.domain.ports.outbound.notifier import Notice, Notifier
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork
from agenthub.domain.services.events import EventService, Gap

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
GIVE_UP_AFTER = timedelta(hours=24)
GRACE = timedelta(seconds=3)
"""How long a question waits before people are called. A feed's reader is back after two."""
REMEMBERED_EVENTS = 2_000
"""How many events before the cursor are read to know what was bad when the hub stopped."""
IDLE_EVENTS = 200
"""The cursor is noted at the latest after so many events that are not for the target."""

Pause = Callable[[float], Awaitable[None]]

_logger = logging.getLogger(__name__)


async def pause(seconds: float) -> None:
    """Wait by the loop's own clock."""
    await asyncio.sleep(seconds)


class Follower:
    """Run `run` in one task. Tells in order and at least once; `target` is as it was last noted."""

    def __init__(
        self,
        target: NoticeTarget,
        *,
        chance: Chance,
        clock: Clock,
        events: EventService,
        notifier: Notifier,
        pause: Pause,
        uow: UnitOfWork,
    ) -> None:
        self.target = target
        self._chance = chance
        self._clock = clock
        self._events = events
        self._notifier = notifier
        self._pause = pause
        self._uow = uow
        self._news = News()
        self._noted = target.cursor

    async def run(self) -> None:
        """Tell on until cancelled, or until the target wants no more."""
        failures = 0
        while self.target.enabled:
            cursor = self.target.cursor
            try:
                self._news = await self._remembered()
                await self._follow()
            except Exception:
                failures = 1 if self.target.cursor > cursor else failures + 1
                _logger.exception("notices stopped; going on soon", extra=self._extra)
                await self._pause(self._back_off(failures, None))

    async def _remembered(self) -> News:
        """Learn from the events before the cursor what is known to be bad."""
        news, since = News(), max(0, self.target.cursor - REMEMBERED_EVENTS)
        async with self._uow.read(OWNER) as stored:
            past = await stored.events.after(since, limit=REMEMBERED_EVENTS)
        for event in past:
            if event.id <= self.target.cursor:
                news.take(event.name, event.facts)
        return news

    async def _follow(self) -> None:
        feed = self._events.follow(OWNER, self.target.cursor, is_present=False)
        async with aclosing(feed):
            async for event in feed:
                is_told = await self._take(event)
                if isinstance(event, StoredEvent):
                    self.target = replace(self.target, cursor=event.id)
                if is_told or self.target.cursor - self._noted >= IDLE_EVENTS:
                    await self._note(self.target.last_fault)
                if not self.target.enabled:
                    return

    async def _take(self, event: StoredEvent | Gap) -> bool:
        """Tell of an event if it is for this target; say whether it was."""
        if isinstance(event, Gap):
            name, facts, number, at = "gap", {"after": event.after}, event.after, self._clock.now()
        else:
            is_news = self._news.take(event.name, event.facts)
            if not is_news or event.name not in self.target.events:
                return False
            if await self._needs_nobody(event):
                return False
            name, facts, number, at = event.name, event.facts, event.id, event.at
        title, body = worded(name, facts)
        notice_id = f"{self.target.id}-{name}-{number}"
        await self._deliver(
            Notice(id=notice_id, at=at, event=name, facts=facts, title=title, body=body)
        )
        return True

    async def _needs_nobody(self, event: StoredEvent) -> bool:
        """Say whether it is a question for which nobody needs to be called.

        A rule may answer it at once, or somebody's page may be about to connect again.
        """
        if event.name not in ASKED:
            return False
        if self._clock.now() - event.at < GRACE:
            await self._pause(GRACE.total_seconds())
        if self._clock.now() >= _until(event.name, event.facts, event.at):
            return True
        async with self._uow.read(OWNER) as stored:
            question = await stored.requests.get(RequestId(str(event.facts["request_id"])))
        is_waiting = question is not None and question.status is RequestStatus.PENDING
        return not is_waiting or self._events.reaches_answerer(event)

    async def _deliver(self, notice: Notice) -> None:
        """Try until it is taken, or too old. Leaves in `last_fault` how that went."""
        failures, until = 0, _until(notice.event, notice.facts, notice.at)
        while True:
            error = await self._attempt(notice)
            if error is None:
                self.target = replace(self.target, last_fault=None)
                return
            if isinstance(error, GoneError):
                self.target = replace(self.target, enabled=False, last_fault=error.message)
                return
            if self._clock.now() >= until:
                text = f"Gave up on {notice.title!r}, it is too late: {error.message}"
                self.target = replace(self.target, last_fault=text)
                _logger.warning("a notice was given up", extra=self._extra)
                return
            failures += 1
            if error.message != self.target.last_fault:
                await self._note(error.message)
            await self._pause(self._back_off(failures, error.retry_after_s))

    async def _attempt(self, notice: Notice) -> HubError | None:
        try:
            await self._notifier.send(self.target, notice)
        except HubError as error:
            return error
        except Exception:
            _logger.exception("a notifier broke", extra=self._extra)
            return HubError("The hub failed to send it; its log says more.")
        return None

    async def _note(self, fault: str | None) -> None:
        """Write down how far the target was told, and whether it still wants to be."""
        self.target = replace(self.target, last_fault=fault)
        async with self._uow.begin(OWNER) as tx:
            if self.target.enabled:
                await tx.notice_targets.advance(self.target.id, self.target.cursor, fault)
            else:
                await tx.notice_targets.save(self.target)
            await tx.commit()
        self._noted = self.target.cursor

    def _back_off(self, failures: int, at_least_s: float | None) -> float:
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 16))
        return max(longest * (1 + self._chance.share()) / 2, at_least_s or 0.0)

    @property
    def _extra(self) -> dict[str, str]:
        return {"target": self.target.name}


def _until(event: str, facts: dict[str, Any], at: datetime) -> datetime:
    """Say until when it is of use to tell of an event; a question, as long as it waits."""
    if event in ASKED:
        return datetime.fromisoformat(str(facts["expires_at"]))
    return at + GIVE_UP_AFTER
