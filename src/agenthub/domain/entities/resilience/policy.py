"""What is demanded of the guards of one tool: breaker, limits, retries, health, definitions.

Policies stand in layers: the hub's, a server's, a tool's (see `layers`). A layer is a sparse
document (`dict`) of the fields below, named as here; what it leaves out holds as in the layer
beneath. Every part checks itself at construction: InvalidError names the fields.
Source of the defaults: docs/decisions/0005.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar

from agenthub.domain.entities.resilience.checks import Within, require
from agenthub.domain.exceptions import FieldFault

NANO = 1_000_000_000
"""Nano-dollars in a dollar."""

Seconds = Annotated[float, Within(0, 86_400, above=True)]
Share = Annotated[float, Within(0, 1)]
Threshold = Annotated[float, Within(0, 1, above=True)]
"""A share that is met by `>=`; zero would be met by a server without a fault."""
Count = Annotated[int, Within(1, 1_000_000)]


class Balancing(StrEnum):
    """How calls are spread over the instances of one priority."""

    ROUND_ROBIN = "round_robin"
    WEIGHTED_ROUND_ROBIN = "weighted_round_robin"
    LEAST_REQUEST = "least_request"


class DefinitionChange(StrEnum):
    """What happens when a known tool's definition changes."""

    ACCEPT = "accept"
    WARN = "warn"
    QUARANTINE = "quarantine"


class Answering(StrEnum):
    """Who answers what a server asks in the middle of a call.

    AGENT_FIRST: the agent that called, and where it cannot, a person at the hub.
    """

    AGENT_FIRST = "agent_first"
    AGENT = "agent"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """Shares run from 0 to 1; every threshold is met by `>=`."""

    PLACE: ClassVar = ("breaker",)

    enabled: bool = True
    consecutive_failures: Count = 5
    window_s: Seconds = 30.0
    min_calls: Count = 10
    failure_share: Threshold = 0.5
    slow_share: Threshold = 0.8
    slow_call_s: Seconds = 10.0
    open_s: Seconds = 5.0
    max_open_s: Seconds = 300.0
    jitter_share: Share = 0.2
    calm_s: Seconds = 300.0
    probe_successes: Annotated[int, Within(1, 100)] = 1
    probe_ttl_s: Seconds = 30.0

    def __post_init__(self) -> None:
        require(self, self.PLACE, _order(self, "open_s", "max_open_s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """`rate_per_s` on average, `burst` at once."""

    PLACE: ClassVar = ("rate_limit",)

    rate_per_s: Annotated[float, Within(0, 1_000_000, above=True)]
    burst: Count

    def __post_init__(self) -> None:
        require(self, self.PLACE, [])


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkheadPolicy:
    """Calls at once to one instance; None: 16 over HTTP, 4 to a program of the hub's own."""

    PLACE: ClassVar = ("bulkhead",)

    max_concurrent: Annotated[int, Within(1, 100_000)] | None = None
    max_queue: Annotated[int, Within(0, 1_000_000)] = 1_000

    def __post_init__(self) -> None:
        require(self, self.PLACE, [])


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`retry_sent`: repeat a call that may have reached the server, whatever its tool says."""

    PLACE: ClassVar = ("retry",)

    max_retries: Annotated[int, Within(0, 5)] = 1
    budget_share: Share = 0.2
    min_retries_per_s: Annotated[float, Within(0, 1_000)] = 1.0
    base_delay_s: Annotated[float, Within(0, 300)] = 0.1
    max_delay_s: Annotated[float, Within(0, 300)] = 2.0
    retry_sent: bool = False

    def __post_init__(self) -> None:
        require(self, self.PLACE, _order(self, "base_delay_s", "max_delay_s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackPolicy:
    """Another tool (`server`, `tool`), or the last good answer up to `cached_for_s` old.

    `server` is a name or an id; without it the tool is one of the same server.
    """

    PLACE: ClassVar = ("fallback",)

    server: Annotated[str, Within(1, 128)] | None = None
    tool: Annotated[str, Within(1, 8_192)] | None = None
    cached_for_s: Seconds | None = None

    def __post_init__(self) -> None:
        require(self, self.PLACE, self._faults())

    def _faults(self) -> list[FieldFault]:
        if self.server is not None and self.tool is None:
            return [FieldFault(("tool",), "must be named beside a server")]
        if self.tool is None and self.cached_for_s is None:
            return [FieldFault((), "must have a tool or cached_for_s")]
        if self.tool is not None and self.cached_for_s is not None:
            return [FieldFault(("cached_for_s",), "must not stand beside a tool: choose one")]
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPolicy:
    """A probe every `interval_s`; so many failures or successes in a row change the state."""

    PLACE: ClassVar = ("health",)

    enabled: bool = True
    interval_s: Annotated[float, Within(0.05, 86_400)] = 30.0
    timeout_s: Seconds = 5.0
    down_after: Annotated[int, Within(1, 1_000)] = 3
    up_after: Annotated[int, Within(1, 1_000)] = 2

    def __post_init__(self) -> None:
        require(self, self.PLACE, [])


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPolicy:
    """Everything the guards of one tool go by. Construction raises InvalidError, naming fields.

    `rate_limit` holds for the server or the tool that names it, over all callers;
    `caller_rate_limit` and `calls_per_day` (UTC) hold for each caller by itself.
    `trusted`: the server's word on `readOnlyHint` and `idempotentHint` is believed.
    """

    PLACE: ClassVar[tuple[str, ...]] = ()

    timeout_s: Seconds = 300.0
    rate_limit: RateLimit | None = None
    caller_rate_limit: RateLimit | None = None
    calls_per_day: Annotated[int, Within(1, 1_000_000_000)] | None = None
    price_nano_usd: Annotated[int, Within(0, 1_000_000 * NANO)] | None = None
    trusted: bool = False
    count_internal_errors: bool = False
    """Whether a JSON-RPC -32603 of the server is a failure of the server, not of the tool alone."""
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    bulkhead: BulkheadPolicy = field(default_factory=BulkheadPolicy)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    fallback: FallbackPolicy | None = None
    balancing: Balancing = Balancing.LEAST_REQUEST
    panic_share: Share = 0.5
    """Below this share of usable instances, of three or more, all are used."""
    health: HealthPolicy = field(default_factory=HealthPolicy)
    definitions: DefinitionChange = DefinitionChange.QUARANTINE
    questions: Answering = Answering.AGENT_FIRST

    def __post_init__(self) -> None:
        require(self, self.PLACE, [])


Part = (
    GatewayPolicy
    | BreakerPolicy
    | RateLimit
    | BulkheadPolicy
    | RetryPolicy
    | FallbackPolicy
    | HealthPolicy
)
"""A policy, or what one is made of. `PLACE` is where it stands in a GatewayPolicy."""


def _order(part: BreakerPolicy | RetryPolicy, low: str, high: str) -> list[FieldFault]:
    least, most = getattr(part, low), getattr(part, high)
    comparable = isinstance(least, int | float) and isinstance(most, int | float)
    if comparable and least > most:
        return [FieldFault((low,), f"must not be more than {high} ({most:g})")]
    return []
