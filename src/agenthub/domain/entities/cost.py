"""Money and use: what calls and models cost, and budgets that hold."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from agenthub.domain.ids import BudgetId, EntryId, WorkspaceId


class EntryKind(StrEnum):
    TOOL = "tool"
    MODEL = "model"


class Purpose(StrEnum):
    """What a ledger entry was for. The first four are the MCP requests that go to servers."""

    TOOL_CALL = "tools/call"
    GET_PROMPT = "prompts/get"
    READ_RESOURCE = "resources/read"
    COMPLETE = "completion/complete"
    CHAT = "chat"
    SAMPLING = "sampling"
    EMBEDDING = "embedding"
    ROUTING = "routing"
    WORKFLOW = "workflow"


class EntryStatus(StrEnum):
    """How an entry ended.

    RESERVED: under way. ESTIMATED: its true amount was never learnt (the hub died, or the
    provider told no usage). UNPRICED: used, but nobody knows the price; its cost is None, not 0.
    REFUSED: a guard of the hub held it back before it reached a server.
    """

    RESERVED = "reserved"
    OK = "ok"
    INPUT_REQUIRED = "input_required"
    ERROR = "error"
    REFUSED = "refused"
    ABORTED = "aborted"
    UNPRICED = "unpriced"
    ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Token counts of one model call. `prompt` includes the cached ones, `completion` reasoning."""

    prompt: int = 0
    cached_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    completion: int = 0
    reasoning: int = 0
    audio_in: int = 0
    audio_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Who and what an entry is about; budgets and summaries go by it. Empty text: does not apply.

    `subject` is "owner" or a key's id.
    """

    subject: str
    group: str = ""
    endpoint_id: str = ""
    server: str = ""
    tool: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the ledger. `cost_nano_usd` is None where the price is unknown.

    `estimated` tells a cost that was computed from less than the provider's own usage.
    """

    id: EntryId
    workspace: WorkspaceId
    at: datetime
    kind: EntryKind
    purpose: Purpose
    party: Party
    status: EntryStatus
    error_code: str = ""
    instance: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    duration_us: int = 0
    model_served: str = ""
    tokens: Tokens = field(default_factory=Tokens)
    price_id: str = ""
    reserved_nano_usd: int = 0
    cost_nano_usd: int | None = 0


class BudgetScope(StrEnum):
    HUB = "hub"
    KEY = "key"
    GROUP = "group"
    SERVER = "server"


class BudgetPeriod(StrEnum):
    """Calendar periods in UTC; TOTAL never starts anew."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit in nano-dollars. Construction raises InvalidError.

    `subject` is a key's id, a group's id or an endpoint's id, empty for the hub.
    `hard_stop`: calls that would pass it are refused. `alerts` are percents.
    `ends_at`: it holds no longer from then on.
    """

    id: BudgetId
    workspace: WorkspaceId
    scope: BudgetScope
    subject: str = ""
    limit_nano_usd: int
    period: BudgetPeriod = BudgetPeriod.MONTH
    hard_stop: bool = False
    alerts: tuple[int, ...] = (50, 80, 100)
    ends_at: datetime | None = None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSnapshot:
    """The prices that entries were computed with; `id` is the digest of `body`."""

    id: str
    body: dict[str, Any]
    source: str
    at: datetime
