"""One call on its way through the guards, and what it lends while a person is asked."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.resilience.deadline import Deadline
from agenthub.domain.entities.resilience.policy import GatewayPolicy
from agenthub.domain.exceptions import HubError, RpcError
from agenthub.domain.ids import InstanceId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.mcp_client import Caller, Question, RawObject


@dataclass(slots=True)
class Passage:
    """`policy` is the tool's; `tool` is None for what is no tool call.

    `client` is set where the call must stay with the instance that has its session. `is_sent`:
    a server got at least one request of it; `is_unsure`: of one nobody knows what became of it.
    """

    target: Target
    tool: str | None
    policy: GatewayPolicy
    deadline: Deadline
    client: str | None
    instance: InstanceId | None = None
    retries: int = 0
    is_sent: bool = False
    is_unsure: bool = False
    tried: set[InstanceId] = field(default_factory=set[InstanceId])

    def note(self, error: BaseException | None) -> None:
        """Note how one try at a server ended; None: with its answer."""
        if isinstance(error, HubError) and not error.reached_server:
            return
        self.is_sent = True
        self.is_unsure |= not (error is None or isinstance(error, RpcError))

    @contextmanager
    def waiting(self, clock: Clock) -> Generator[None]:
        """Stop the deadline while somebody is asked between two requests."""
        self.deadline.pause(clock.monotonic())
        try:
            yield
        finally:
            self.deadline.resume(clock.monotonic())


class LendingCaller(Caller):
    """Passes everything on to the caller. While it is asked something, the call holds nothing.

    `lend` runs when the first question is asked, `take_back` when the last one is answered.
    """

    __slots__ = ("_asking", "_lend", "_take_back", "caller")

    def __init__(
        self, caller: Caller, lend: Callable[[], None], take_back: Callable[[], None]
    ) -> None:
        self.era = caller.era
        self.capabilities = caller.capabilities
        self.client = caller.client
        self.wants_progress = caller.wants_progress
        self.log_level = caller.log_level
        self.agent = caller.agent
        self.conversation = caller.conversation
        self.caller = caller
        self._lend = lend
        self._take_back = take_back
        self._asking = 0

    def can_answer(self, question: Question) -> bool:
        return self.caller.can_answer(question)

    def has_people(self, question: Question) -> bool:
        return self.caller.has_people(question)

    async def progress(self, params: RawObject) -> None:
        await self.caller.progress(params)

    async def log(self, params: RawObject) -> None:
        await self.caller.log(params)

    async def ask(self, question: Question) -> bytes:
        self._asking += 1
        if self._asking == 1:
            self._lend()
        try:
            return await self.caller.ask(question)
        finally:
            self._asking -= 1
            if self._asking == 0:
                self._take_back()
