"""One try of one call at one instance: what it holds, lends, and reports at its end."""

from abc import ABC, abstractmethod

from agenthub.domain.entities.resilience.verdicts import Verdict, pause_of, verdict_of
from agenthub.domain.exceptions import RpcError, TimedOutError
from agenthub.domain.ids import InstanceId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.services.resilience.instances import InstanceGuard, Pass
from agenthub.domain.services.resilience.passage import Passage

FULL_TIME_SHARE = 0.9
"""A call that was given less of its time than this says nothing of a server that missed it."""


class InstanceWatch(ABC):
    """Who else knows of instances: whether their tools agree, how their health is."""

    @abstractmethod
    def is_equal(self, instance_id: InstanceId) -> bool:
        """Say whether an instance offers the tools that its server offers; else it gets no call."""

    @abstractmethod
    def is_usable(self, instance_id: InstanceId) -> bool:
        """Say whether an instance may be chosen where there are others."""

    @abstractmethod
    def note_success(self, instance_id: InstanceId) -> None:
        """An instance answered just now."""


class Attempt:
    """Begins with a place taken, and counted; `end` gives everything back, once."""

    __slots__ = (
        "_asked_s",
        "_asking_since",
        "_clock",
        "_is_over",
        "guard",
        "held",
        "passage",
        "started",
        "timeout_s",
    )

    def __init__(
        self, guard: InstanceGuard, held: Pass, passage: Passage, clock: Clock, now: float
    ) -> None:
        self.guard = guard
        self.held = held
        self.passage = passage
        self.started = now
        self.timeout_s = passage.deadline.left_s(now)
        self._clock = clock
        self._asked_s = 0.0
        self._asking_since: float | None = None
        self._is_over = False

    def lend(self) -> None:
        """A person or an agent is asked: the server did its part, and waits as we do."""
        if self._is_over:
            return
        now = self._asking_since = self._clock.monotonic()
        passage = self.passage
        self.guard.end(
            self.held, passage.tool, (Verdict.SUCCESS, Verdict.SUCCESS), now, is_slow=False
        )
        passage.deadline.pause(now)
        self.guard.slots.leave()

    def take_back(self) -> None:
        """The answer is there."""
        if self._asking_since is not None and not self._is_over:
            self._resume(self._clock.monotonic())
            self.guard.slots.re_enter()

    def end(self, error: BaseException | None) -> None:
        """Give the place back and report to the breakers."""
        if self._is_over:
            return
        self._is_over = True
        now = self._clock.monotonic()
        if self._asking_since is None:
            self.guard.slots.leave()
        else:
            self._resume(now)
        self.guard.outstanding -= 1
        self.passage.note(error)
        wait_s = None if error is None else pause_of(error)
        if wait_s is not None:
            self.guard.pause(wait_s, now)
        policy = self.passage.policy
        took_s = now - self.started - self._asked_s
        self.guard.slots.learn(took_s)
        self.guard.end(
            self.held,
            self.passage.tool,
            self._verdicts(error),
            now,
            is_slow=took_s >= policy.breaker.slow_call_s,
        )

    def _resume(self, now: float) -> None:
        if self._asking_since is not None:
            self._asked_s += now - self._asking_since
            self._asking_since = None
            self.passage.deadline.resume(now)

    def _verdicts(self, error: BaseException | None) -> tuple[Verdict, Verdict]:
        """Judge the instance, and the tool: what is wrong with the way there is not its fault."""
        if error is None:
            return Verdict.SUCCESS, Verdict.SUCCESS
        policy = self.passage.policy
        if isinstance(error, TimedOutError):
            had_its_time = self.timeout_s >= FULL_TIME_SHARE * policy.timeout_s
            verdict = Verdict.FAILURE if had_its_time else Verdict.IGNORED
            return verdict, verdict
        of_instance = verdict_of(error, internal_is_failure=policy.count_internal_errors)
        if isinstance(error, RpcError):
            return of_instance, verdict_of(error, internal_is_failure=True)
        return of_instance, Verdict.IGNORED
