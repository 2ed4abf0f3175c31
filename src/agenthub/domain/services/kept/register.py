"""The calls of this process that wait for people, or whose outcomes are kept."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from agenthub.domain.entities.hitl.held_call import HeldCall, HeldStatus
from agenthub.domain.exceptions import QuotaError
from agenthub.domain.ids import HeldCallId, RequestId
from agenthub.domain.services.calls import Outcome
from agenthub.domain.services.hitl.threads import CallThread
from agenthub.domain.services.kept.rows import plain

MAX_ASKED = 500
"""Questions that one caller's calls may have before people at a time: half of all that may wait,
so that others' come through as well."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that goes on alone: its agent comes back with the ticket."""

    ticket: HeldCallId
    server: str
    kinds: tuple[str, ...]
    """Of the questions that are open now: `sampling`, `elicitation`, `approval`."""
    requests: tuple[RequestId, ...]
    expires_at: datetime


class Held:
    """One call under way, or one whose outcome is kept. `outcome` is None where it is stored.

    `thread` is there until the outcome is stored.
    """

    __slots__ = (
        *("agent", "attended", "binding", "conversation", "done", "expires_at", "has_left"),
        *(
            "has_ticket",
            "id",
            "is_delivered",
            "outcome",
            "owner",
            "server",
            "size_bytes",
            "task",
            "thread",
        ),
    )

    def __init__(self, owner: tuple[str, str], server: str = "") -> None:
        self.owner = owner
        self.server = server
        self.size_bytes = 0
        self.id: HeldCallId | None = None
        """There from the first question on."""
        self.binding = self.agent = self.conversation = ""
        self.thread: CallThread | None = None
        self.task: asyncio.Task[None] | None = None
        self.outcome: Outcome | Exception | None = None
        self.done = asyncio.Event()
        self.expires_at: datetime | None = None
        self.attended = 0
        """How many requests of the agent wait for it now."""
        self.has_left = False
        self.has_ticket = False
        self.is_delivered = False

    def leave(self) -> None:
        """Its agent has gone without a word, and may come back in another conversation."""
        self.has_left = True


class Register:
    """Finds calls by ticket, and those that nobody attends to by what was asked for."""

    def __init__(self) -> None:
        self._by_ticket: dict[HeldCallId, Held] = {}
        self._idle: dict[str, list[Held]] = {}

    def __contains__(self, call_id: HeldCallId) -> bool:
        return call_id in self._by_ticket

    @property
    def has_idle(self) -> bool:
        return bool(self._idle)

    def at(self, ticket: str) -> Held | None:
        return self._by_ticket.get(HeldCallId(ticket))

    def put(self, call: Held, row: HeldCall) -> None:
        """Keep a call under its ticket."""
        call.id, call.binding = row.id, row.binding
        call.agent, call.conversation = row.agent, row.conversation
        self._by_ticket[row.id] = call

    def load_of(self, call: Held) -> tuple[int, int]:
        """Count this and its caller's other calls that are not done, and their bytes."""
        calls = {id(one): one for one in (call, *self._by_ticket.values())}.values()
        sizes = [
            one.size_bytes for one in calls if one.owner == call.owner and not one.done.is_set()
        ]
        return len(sizes), sum(sizes)

    def require_room(self, call: Held, count: int) -> None:
        """Raise QuotaError where this and its caller's other calls ask too much already."""
        own = (one for one in self._by_ticket.values() if one.owner == call.owner)
        if sum(map(_asked_by, own)) + count > MAX_ASKED:
            raise QuotaError(
                f"Your calls ask people {MAX_ASKED} questions already; try again later.",
                code="too_many_requests_waiting",
                retry_after_s=30.0,
            )

    def done_before(self, now: datetime) -> Iterator[tuple[HeldCallId, Held]]:
        """Give the calls whose outcome is kept no longer."""
        for call_id, call in list(self._by_ticket.items()):
            if call.done.is_set() and call.expires_at is not None and call.expires_at <= now:
                yield call_id, call

    def let_go(self, call: Held) -> None:
        """Its agent has gone, and may send the same request again."""
        if call.id in self._by_ticket:
            self._idle.setdefault(call.binding, []).append(call)

    def idle(self, binding: str, agent: str, conversation: str) -> Held | None:
        """Give an equal call that nobody attends to, and that is no other agent's.

        Agents may share a key. Where both calls name a conversation, it has to be the same, unless
        the first one's broke off.
        """
        agent, conversation = plain(agent), plain(conversation)
        for call in self._idle.get(binding, ()):
            is_open = call.has_left or "" in (conversation, call.conversation)
            is_same = call.agent == agent and (is_open or call.conversation == conversation)
            if is_same and not call.attended:
                return call
        return None

    def delivered(self, call: Held) -> None:
        """Its agent has what it came to: an equal request is a new one."""
        call.is_delivered = True
        left = [one for one in self._idle.pop(call.binding, ()) if one is not call]
        if left:
            self._idle[call.binding] = left

    def remove(self, call: Held) -> None:
        if call.id is not None:
            self._by_ticket.pop(call.id, None)
            self.delivered(call)


def _asked_by(call: Held) -> int:
    """Count the questions a call waits for; those too that are only being stored."""
    row = None if call.thread is None else call.thread.row
    return len(row.requests) if row is not None and row.status is HeldStatus.WAITING else 0
