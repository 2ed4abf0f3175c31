"""What is demanded of the guards of one tool: breaker, limits, retries, health, definitions.

Policies stand in layers: the hub's, a server's, a tool's. A layer is a sparse document
(`dict`) of the fields below, named as here; what it leaves out holds as in the layer beneath.
Source of the defaults: docs/decisions/0005.
"""

from dataclasses import dataclass, field
from enum import StrEnum

NANO = 1_000_000_000
"""Nano-dollars in a dollar."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """Shares run from 0 to 1; every threshold is met by `>=`."""

    enabled: bool = True
    consecutive_failures: int = 5
    window_s: float = 30.0
    min_calls: int = 10
    failure_share: float = 0.5
    slow_share: float = 0.8
    slow_call_s: float = 10.0
    open_s: float = 5.0
    max_open_s: float = 300.0
    jitter_share: float = 0.2
    calm_s: float = 300.0
    probe_successes: int = 1
    probe_ttl_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """`rate_per_s` on average, `burst` at once."""

    rate_per_s: float
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkheadPolicy:
    """Calls at once to one instance; None: 16 over HTTP, 4 to a program of the hub's own."""

    max_concurrent: int | None = None
    max_queue: int = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`retry_sent`: repeat a call that may have reached the server, whatever its tool says."""

    max_retries: int = 1
    budget_share: float = 0.2
    min_retries_per_s: float = 1.0
    base_delay_s: float = 0.1
    max_delay_s: float = 2.0
    retry_sent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackPolicy:
    """Another tool (`server`, `tool`), or the last good answer up to `cached_for_s` old."""

    server: str | None = None
    tool: str | None = None
    cached_for_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPolicy:
    enabled: bool = True
    interval_s: float = 30.0
    timeout_s: float = 5.0
    down_after: int = 3
    up_after: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPolicy:
    """Everything the guards of one tool go by. Construction raises InvalidError, naming fields.

    `rate_limit` holds for the server or the tool that names it, over all callers;
    `caller_rate_limit` and `calls_per_day` (UTC) hold for each caller by itself.
    `trusted`: the server's word on `readOnlyHint` and `idempotentHint` is believed.
    """

    timeout_s: float = 300.0
    rate_limit: RateLimit | None = None
    caller_rate_limit: RateLimit | None = None
    calls_per_day: int | None = None
    price_nano_usd: int | None = None
    trusted: bool = False
    count_internal_errors: bool = False
    """Whether a JSON-RPC -32603 of the server is a failure of the server, not of the tool alone."""
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    bulkhead: BulkheadPolicy = field(default_factory=BulkheadPolicy)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    fallback: FallbackPolicy | None = None
    balancing: Balancing = Balancing.LEAST_REQUEST
    panic_share: float = 0.5
    """Below this share of usable instances, of three or more, all are used."""
    health: HealthPolicy = field(default_factory=HealthPolicy)
    definitions: DefinitionChange = DefinitionChange.QUARANTINE
