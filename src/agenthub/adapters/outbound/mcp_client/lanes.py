"""A lane: who keeps the connection to one server in one era, whatever happens to it."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial

from agenthub.adapters.outbound.mcp_client.channel import Channel, Hello, Inbox
from agenthub.adapters.outbound.mcp_client.faults import (
    casts_doubt,
    denies_era,
    is_certain,
    speaks_otherwise,
)
from agenthub.adapters.outbound.mcp_client.handshakes import NotModernError
from agenthub.adapters.outbound.mcp_client.hearing import Ears
from agenthub.adapters.outbound.mcp_client.plans import LanePlan, Phase, Surroundings, pause
from agenthub.adapters.outbound.mcp_client.reading import Shelf
from agenthub.adapters.outbound.mcp_client.spells import LostError, Spell, unreachable
from agenthub.adapters.outbound.mcp_client.spells import lost as lost_error
from agenthub.adapters.outbound.mcp_client.spells import until as until_end
from agenthub.adapters.outbound.mcp_client.turns import InTurn, LeaseEndedError, Leases, Turns
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.exceptions import HubError, QuotaError, RpcError, UnavailableError
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject, UpstreamRequest

_log = logging.getLogger(__name__)

CALM_S = 60.0
"""A connection that lived so long starts the pauses anew."""

READY_WAIT_S = 5.0
"""How long a request waits for a connection that is being made."""

TRIES_BESIDE_A_SIBLING = 3


class Overseer(ABC):
    """Hears of its lanes. Methods must not block."""

    @abstractmethod
    def on_phase(self, lane: "Lane") -> None:
        """The lane's phase or fault changed."""

    @abstractmethod
    def on_shelf(self, lane: "Lane", former: Shelf) -> None:
        """Lists were read."""

    @abstractmethod
    def on_resource(self, lane: "Lane", uri: str) -> None:
        """A watched resource changed."""

    @abstractmethod
    def may_rest(self, lane: "Lane") -> bool:
        """Another lane serves, so this one need not be tried again and again."""


class Lane(Inbox):
    """Run `run` in one task; everything else may be called from any."""

    def __init__(self, plan: LanePlan, overseer: Overseer, world: Surroundings) -> None:
        self.era = plan.era
        self.phase = Phase.CONNECTING
        self.fault: Exception | None = None
        self.hello: Hello | None = None
        self.shelf = Shelf()
        self.rests = False
        self.settled = asyncio.Event()
        self._plan = plan
        self._overseer = overseer
        self._world = world
        self._hint = plan.era
        self._spell: Spell | None = None
        self._is_over = False
        self._failures = 0
        self._retry_at: float | None = None
        self._news = asyncio.Event()
        self._attempted = asyncio.Event()
        self._poke = asyncio.Event()
        self._doubt = asyncio.Event()
        self._leases = Leases()
        self._turns = Turns()
        self._is_ambiguous = False
        self._ears = Ears(
            server=plan.server,
            pause=world.pause,
            back_off=world.back_off,
            read=self._read,
            on_resource=lambda uri: overseer.on_resource(self, uri),
        )

    @property
    def is_open(self) -> bool:
        return self._spell is not None and self._spell.channel.fault is None

    @property
    def falters(self) -> bool:
        """It failed so often in a row that waiting for it is in vain where another serves."""
        return not self.is_open and self._failures >= TRIES_BESIDE_A_SIBLING

    @property
    def retry_in_s(self) -> float | None:
        """How long until the next attempt, None when none is waited for."""
        if self._retry_at is None:
            return None
        return max(0.0, self._retry_at - self._world.clock.monotonic())

    async def run(self) -> None:
        """Keep the connection until cancelled."""
        try:
            while True:
                await self._rest(await self._once())
        finally:
            self._is_over = True
            self._leases.end()
            self._ears.give_up()
            self._attempt_ended()

    async def request(
        self,
        request: UpstreamRequest,
        caller: Caller,
        header_params: dict[str, str] | None = None,
        *,
        until: float | None = None,
    ) -> bytes:
        """Send a request, as `Channel.request`; waits a little for a connection in the making.

        All that comes before the answer must be over at `until`, by the loop's clock.
        """
        now = asyncio.get_running_loop().time
        until = now() + request.timeout_s if until is None else until
        spell = self._spell
        if spell is None or spell.channel.fault is not None:
            spell = await self._opened(until - now())
        channel = spell.channel
        if caller.log_level is not None and channel.era is Era.LEGACY:
            await spell.level.lower(channel, caller.log_level, until - now())

        async def send(caller: Caller) -> bytes:
            return await channel.request(
                request.method,
                request.params,
                meta=request.meta,
                caller=caller,
                timeout_s=max(0.0, round(until - now(), 2)),
                header_params=header_params,
            )

        if not self._is_ambiguous and not channel.unattributed:
            return await self._sent(partial(send, caller))
        self._is_ambiguous = True
        async with self._turns.turn(caller.client, until - now()) as turn:
            return await self._sent(partial(send, InTurn(caller, turn)))

    async def wait_open(self, timeout_s: float) -> None:
        """Wait for a connection. Raises UnavailableError, at once where none can come in time."""
        await self._opened(timeout_s)

    def unavailable(self) -> UnavailableError:
        """Make the error of a request that found no connection."""
        return unreachable(self._plan.server, self.fault, self.retry_in_s)

    async def probe(self, timeout_s: float) -> bool:
        """Ask a connected server whether it is there; see `McpClient.probe`."""
        if self._spell is None or not self.is_open:
            raise self.unavailable()
        if self._plan.reopens and self._leases.are_out:
            return False
        try:
            fault = await self._probe(self._spell.channel, timeout_s)
        except LostError as error:
            raise lost_error(self._plan.server) from error
        if fault is not None:
            self._suspect(fault)
            raise fault
        self._trust()
        return True

    def poke(self) -> None:
        """Try again now, if it is down."""
        self._poke.set()

    def restart(self) -> None:
        """Connect anew: the server speaks differently than it said. What runs may run on."""
        if self._spell is not None:
            self._spell.over.set()
            self._spell = None

    async def refresh(self) -> None:
        """Read all lists again, or try to connect again; returns when that has ended."""
        if self._is_over:
            return
        if self._spell is not None and self.phase is Phase.READY:
            if await self._is_as_before(self._spell.channel):
                await self._ears.reread()
                return
            if not self.is_open:
                await self._attempted.wait()
            await self.refresh()
            return
        ended = self._attempted
        self._poke.set()
        await ended.wait()

    async def _is_as_before(self, channel: Channel) -> bool:
        if self._plan.reopens or channel.era is Era.LEGACY:
            return True
        try:
            await self._probe(channel, self._plan.patience_s)
        except LostError:
            return False
        return True

    async def watch(self, uri: str) -> None:
        """Have the server report changes of a resource. Raises the faults of a request."""
        spell = await self._opened(READY_WAIT_S)
        await self._ears.watch(spell.channel, uri)

    async def unwatch(self, uri: str) -> None:
        """End it; whether the server takes note does not matter."""
        await self._ears.unwatch(None if self._spell is None else self._spell.channel, uri)

    def notification(self, method: str, params: RawObject) -> None:
        self._ears.hear(method, params)

    async def _once(self) -> Exception:
        """Connect and serve until it is over; say why it is."""
        lost: Exception | None = None
        self._poke.clear()
        try:
            async with self._plan.open(self, self._hint) as channel:
                lost = await self._live(channel)
        except (HubError, RpcError) as error:
            if lost is None:
                self._hint = self._plan.era
            return lost or error
        except Exception as error:  # noqa: BLE001 (a lane outlives every bug of a channel)
            _log.exception("a connection failed", extra={"server": self._plan.server})
            return lost or error
        return lost

    async def _live(self, channel: Channel) -> Exception:
        """Serve while the connection lives; say why it ended."""
        spell = self._spell = Spell(channel, self._world.clock.monotonic())
        self.hello = channel.hello
        self.era = self._hint = channel.era
        self._doubt.clear()
        self._tell()
        faults: list[Exception | None] = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(until_end(channel.wait_closed))
                group.create_task(until_end(spell.over.wait))
                group.create_task(self._ears.follow(channel, self._ready))
                group.create_task(self._ears.listen(channel))
                group.create_task(self._probe_when_doubted(channel))
        except* LostError as group_error:
            faults = [e.fault for e in group_error.exceptions if isinstance(e, LostError)]
        finally:
            self._spell = None
            self._poke.clear()
            self._ears.give_up()
            if not spell.over.is_set():
                self._leases.end()
        if self._world.clock.monotonic() - spell.opened_at >= CALM_S:
            self._failures = 0
        known = [fault for fault in (channel.fault, *faults) if fault is not None]
        lost = known[0] if known else lost_error(self._plan.server)
        self._become(Phase.DOWN, lost)
        return lost

    async def _rest(self, fault: Exception) -> None:
        """Wait before the next attempt; for ever, where the era is refused and another serves."""
        self._failures += 1
        is_refused = self.hello is None and speaks_otherwise(fault)
        self.rests = is_refused and self._overseer.may_rest(self)
        pause_s = self._world.back_off(self._failures)
        self._retry_at = None if self.rests else self._world.clock.monotonic() + pause_s
        self._become(Phase.DOWN, fault)
        self.settled.set()
        self._attempt_ended()
        if self.rests:
            await self._poke.wait()
        else:
            await self._world.pause(pause_s, self._poke)
        self.rests = False
        self._retry_at = None

    def _ready(self) -> None:
        self.settled.set()
        self._become(Phase.READY, None)
        self._attempt_ended()

    async def _read(self, channel: Channel, kinds: tuple[ItemKind, ...]) -> None:
        former = self.shelf
        fresh = await self._plan.reader.read(channel, former, kinds)
        if self._spell is not None and self._spell.channel is channel and channel.fault is None:
            self.hello = channel.hello
            self.shelf = fresh
            self._overseer.on_shelf(self, former)

    async def _probe_when_doubted(self, channel: Channel) -> None:
        """Find out whether a server that failed a request is still there. Ends by cancelling."""
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            tries = 0
            while (fault := await self._probe(channel, self._plan.patience_s)) is not None:
                if self._plan.reopens:
                    raise LostError(fault)
                tries += 1
                pause_s = self._world.back_off(tries)
                self._poke.clear()
                self._retry_at = self._world.clock.monotonic() + pause_s
                self._become(Phase.DOWN, fault)
                self._attempt_ended()
                await self._world.pause(pause_s, self._poke)
            self._trust()

    async def _probe(self, channel: Channel, timeout_s: float) -> HubError | None:
        try:
            await channel.probe(timeout_s=timeout_s)
        except NotModernError as error:
            if self._spell is not None and self._spell.channel is channel:
                self.restart()
            raise LostError(error) from error
        except (RpcError, QuotaError):
            return None
        except HubError as error:
            return error
        if self.hello != channel.hello:
            self.hello = channel.hello
            self._ears.renew()
            self._tell()
        return None

    def _suspect(self, fault: HubError) -> None:
        if self._spell is None or not casts_doubt(fault):
            return
        if is_certain(fault) and not self._plan.reopens:
            self._become(Phase.DOWN, fault)
        self._doubt.set()

    def _trust(self) -> None:
        """It answers: what was thought of it is forgotten, and its lists may be new."""
        self._retry_at = None
        if self.phase is Phase.DOWN and self._spell is not None:
            self._become(Phase.READY, None)
            self._ears.soil(ItemKind)
            self._poke.set()
            self._attempt_ended()

    async def _sent(self, send: Callable[[], Awaitable[bytes]]) -> bytes:
        try:
            result = await self._leases.run(send)
        except LeaseEndedError as error:
            raise lost_error(self._plan.server) from error
        except RpcError as error:
            if denies_era(error) and self.era is Era.MODERN and not self._plan.reopens:
                self._doubt.set()
            raise
        except HubError as error:
            self._suspect(error)
            raise
        if self.phase is Phase.DOWN:
            self._trust()
        return result

    async def _opened(self, timeout_s: float) -> Spell:
        loop = asyncio.get_running_loop()
        until = loop.time() + min(READY_WAIT_S, timeout_s)
        while (spell := self._spell) is None or spell.channel.fault is not None:
            left_s = until - loop.time()
            if self._is_over or left_s <= 0 or self.rests or (self.retry_in_s or 0) > left_s:
                raise self.unavailable()
            await pause(left_s, self._news)
        return spell

    def _become(self, phase: Phase, fault: Exception | None) -> None:
        if phase is not self.phase or str(fault) != str(self.fault):
            is_calm = phase is Phase.READY or self.rests or isinstance(fault, NotModernError)
            level = logging.INFO if is_calm else logging.WARNING
            era = None if self.era is None else self.era.value
            extra = {"server": self._plan.server, "era": era, "phase": phase.value}
            _log.log(level, "lane %s: %s", phase.value, fault or "serving", extra=extra)
        self.phase, self.fault = phase, fault
        self._tell()

    def _attempt_ended(self) -> None:
        self._attempted.set()
        self._attempted = asyncio.Event()
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
        self._overseer.on_phase(self)
