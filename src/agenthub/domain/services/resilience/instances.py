"""The guards of one instance: its breakers, its places, and how long it asked to be left alone."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from agenthub.domain.entities.resilience.circuit_breaker import (
    Change,
    CircuitBreaker,
    Permit,
    Refused,
    Snapshot,
    State,
)
from agenthub.domain.entities.resilience.policy import BreakerPolicy, GatewayPolicy
from agenthub.domain.entities.resilience.verdicts import Verdict
from agenthub.domain.exceptions import HeldBackError, HubError, OverLimitError
from agenthub.domain.ids import InstanceId
from agenthub.domain.services.resilience.slots import Slots

LONGEST_PAUSE_S = 300.0
MAX_TOOL_BREAKERS = 2_000

News = Callable[[InstanceId, str, list[Change]], None]


@dataclass(frozen=True, slots=True)
class Pass:
    """What one attempt holds at one instance.

    `of_tool` is the permit of the tool and the very breaker that gave it, for after a reset
    another one stands in its place.
    """

    permit: Permit
    of_tool: tuple[CircuitBreaker, Permit] | None

    @property
    def is_probe(self) -> bool:
        return self.permit.probe or (self.of_tool is not None and self.of_tool[1].probe)


class InstanceGuard:
    """Everything that stands between a call and one instance. Times are monotonic seconds."""

    def __init__(
        self,
        instance_id: InstanceId,
        server: str,
        policy: GatewayPolicy,
        limit: int,
        *,
        chance: Callable[[], float],
        news: News,
        now: float,
    ) -> None:
        self.id = instance_id
        self.server = server
        self.outstanding = 0
        self.paused_until = 0.0
        self.slots = Slots(limit, policy.bulkhead.max_queue)
        self._chance = chance
        self._news = news
        self._breaker = CircuitBreaker(policy.breaker, chance=chance, now=now)
        self._is_switched_off = False
        self._tools: OrderedDict[str, tuple[CircuitBreaker, BreakerPolicy]] = OrderedDict()
        self.use(policy, limit)

    def use(self, policy: GatewayPolicy, limit: int) -> None:
        """Go by changed rules from now on."""
        self._breaker.use(policy.breaker)
        self.slots.resize(limit, policy.bulkhead.max_queue)

    def refusal(self, now: float, tool: str | None = None) -> HubError | None:
        """Say what holds a call back now, None where it would get through.

        Whoever waits as told gets past all that holds it back now, not only the first of it.
        """
        on_the_way = self._on_the_way(tool)
        shut = [one for one in on_the_way if not one[1].would_admit(now)]
        paused_s = self.paused_until - now
        if not shut:
            return _paused(self.server, paused_s) if paused_s > 0 else None
        return self._shut(shut, paused_s, now)

    def _shut(
        self, breakers: list[tuple[str, CircuitBreaker]], paused_s: float, now: float
    ) -> HubError:
        """Tell the longest wait of all that is shut."""
        shut = [(name, breaker.snapshot(now)) for name, breaker in breakers]
        waits = [shot.retry_after_s for _, shot in shut if shot.retry_after_s is not None]
        longest_s = max(waits) if len(waits) == len(shut) else None
        if longest_s is not None and paused_s >= longest_s:
            return _paused(self.server, paused_s)
        name, first = shut[0]
        return _held_back(self.server, name, first.state, longest_s)

    def begin(self, tool: str | None, policy: BreakerPolicy, now: float) -> Pass:
        """Ask the breakers. Raises HeldBackError, OverLimitError (while paused)."""
        refusal = self.refusal(now, tool)
        if refusal is not None:
            raise refusal
        permit = self._acquire(self._breaker, "", now)
        if tool is None or self._is_switched_off:
            return Pass(permit, None)
        try:
            breaker = self._tool(tool, policy, now)
            return Pass(permit, (breaker, self._acquire(breaker, tool, now)))
        except HubError:
            self._report(self._breaker, "", permit, Verdict.IGNORED, now, is_slow=False)
            raise

    def end(
        self,
        held: Pass,
        tool: str | None,
        verdicts: tuple[Verdict, Verdict],
        now: float,
        *,
        is_slow: bool,
    ) -> None:
        """Report to the instance's breaker and to the tool's. Repeating is harmless."""
        # A slow tool is the tool's own affair: a server of slow tools is not cut off for them.
        slow_server = is_slow and held.of_tool is None
        self._report(self._breaker, "", held.permit, verdicts[0], now, is_slow=slow_server)
        if held.of_tool is not None:
            breaker, permit = held.of_tool
            self._report(breaker, tool or "", permit, verdicts[1], now, is_slow=is_slow)

    def pause(self, wait_s: float, now: float) -> None:
        """Leave the instance alone, as it asked; never longer than `LONGEST_PAUSE_S`."""
        self.paused_until = max(self.paused_until, now + min(wait_s, LONGEST_PAUSE_S))

    def welcome(self, now: float) -> None:
        """The instance is connected again: what was open may be tried at once."""
        for tool, breaker in self._breakers():
            breaker.welcome(now)
            self._tell(tool, breaker)

    def reset(self, now: float) -> None:
        """Close every breaker and forget the pause."""
        self.paused_until = 0.0
        self._is_switched_off = False
        for tool, breaker in self._breakers():
            breaker.reset(now)
            self._tell(tool, breaker)
        self._tools.clear()

    def force_open(self, now: float) -> None:
        self._is_switched_off = False
        self._breaker.force_open(now)
        self._tell("", self._breaker)

    def disable(self, now: float) -> None:
        """Ask no breaker any more, that of no tool either."""
        self._is_switched_off = True
        self._breaker.disable(now)
        self._tell("", self._breaker)

    def snapshot(self, now: float) -> Snapshot:
        return self._breaker.snapshot(now)

    def tool_snapshots(self, now: float) -> dict[str, Snapshot]:
        return {tool: breaker.snapshot(now) for tool, (breaker, _) in self._tools.items()}

    def _on_the_way(self, tool: str | None) -> tuple[tuple[str, CircuitBreaker], ...]:
        """Give the breakers that a call of this tool has to pass."""
        kept = None if tool is None or self._is_switched_off else self._tools.get(tool)
        if tool is None or kept is None:
            return (("", self._breaker),)
        return (("", self._breaker), (tool, kept[0]))

    def _breakers(self) -> list[tuple[str, CircuitBreaker]]:
        return [("", self._breaker), *((tool, kept[0]) for tool, kept in self._tools.items())]

    def _tool(self, tool: str, policy: BreakerPolicy, now: float) -> CircuitBreaker:
        kept = self._tools.get(tool)
        if kept is None:
            if len(self._tools) >= MAX_TOOL_BREAKERS:
                self._tools.popitem(last=False)
            breaker = CircuitBreaker(policy, chance=self._chance, now=now)
        else:
            breaker, former = kept
            self._tools.move_to_end(tool)
            if former is policy:
                return breaker
            breaker.use(policy)
        self._tools[tool] = (breaker, policy)
        return breaker

    def _acquire(self, breaker: CircuitBreaker, tool: str, now: float) -> Permit:
        got = breaker.acquire(now)
        self._tell(tool, breaker)
        if isinstance(got, Refused):
            raise _held_back(self.server, tool, got.state, got.retry_after_s)
        return got

    def _report(
        self,
        breaker: CircuitBreaker,
        tool: str,
        permit: Permit,
        verdict: Verdict,
        now: float,
        *,
        is_slow: bool,
    ) -> None:
        breaker.report(permit, verdict, now, is_slow=is_slow)
        self._tell(tool, breaker)

    def _tell(self, tool: str, breaker: CircuitBreaker) -> None:
        changes = breaker.take_changes()
        if changes:
            self._news(self.id, tool, changes)


def _paused(server: str, wait_s: float) -> OverLimitError:
    return OverLimitError(
        f"The server {server!r} asked for a pause.", code="server_paused", retry_after_s=wait_s
    )


def _held_back(server: str, tool: str, state: State, retry_after_s: float | None) -> HeldBackError:
    what = f"The tool {tool!r} of the server" if tool else "The server"
    why, then = "fails now", ""
    if state is State.FORCED_OPEN:
        why = "was switched off by an operator"
        then = f" An operator must reset it (agenthub gate reset {server})."
    return HeldBackError(
        f"{what} {server!r} {why}; its circuit breaker is {state.value}.{then}",
        code="circuit_open",
        retry_after_s=retry_after_s,
    )
