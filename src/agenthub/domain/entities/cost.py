"""Money and use: what calls and models cost, and budgets that hold."""

import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from agenthub.domain.exceptions import FieldFault, InvalidError
from agenthub.domain.ids import BudgetId, EntryId, WorkspaceId

NANO_PER_USD = 1_000_000_000
LARGEST_LIMIT = 9_000_000 * NANO_PER_USD
"""In nano-dollars. A thousand of such sums still fit into 64 bits."""
MOST_TOKENS = 10**12
LONGEST_NAME = 256
"""Characters of a name in the ledger: PostgreSQL indexes no more than 2,704 bytes together."""

_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


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
    """Token counts of one model call. `prompt` includes the cached ones, `completion` reasoning.

    Construction raises InvalidError for counts that no model call can have.
    """

    prompt: int = 0
    cached_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    completion: int = 0
    reasoning: int = 0
    audio_in: int = 0
    audio_out: int = 0

    def __post_init__(self) -> None:
        counts = [getattr(self, name) for name in TOKEN_KINDS]
        if min(counts) < 0 or max(counts) > MOST_TOKENS:
            raise InvalidError("A token count is negative or beyond 1e12.", code="invalid_entry")


TOKEN_KINDS = tuple(one.name for one in fields(Tokens))
NO_TOKENS = Tokens()


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Who and what an entry is about; budgets and summaries go by it. Empty text: does not apply.

    `subject` is "owner" or a key's id, `group` a group's id.
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

    Construction raises InvalidError for counts that are negative or too large to keep.
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
    tokens: Tokens = NO_TOKENS
    price_id: str = ""
    reserved_nano_usd: int = 0
    cost_nano_usd: int | None = 0

    def __post_init__(self) -> None:
        counts = (
            self.bytes_in,
            self.bytes_out,
            self.duration_us,
            self.reserved_nano_usd,
            self.cost_nano_usd or 0,
        )
        if min(counts) < 0 or max(counts) > LARGEST_LIMIT:
            raise InvalidError(
                "An entry of the ledger has a count that is negative or beyond 9e15.",
                code="invalid_entry",
            )

    @property
    def is_unpriced(self) -> bool:
        return self.cost_nano_usd is None


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

    def __post_init__(self) -> None:
        faults = [*self._limit_faults(), *self._subject_faults(), *self._alert_faults()]
        if faults:
            text = "; ".join(f"{'.'.join(map(str, f.loc))}: {f.message}" for f in faults)
            raise InvalidError(text, faults=tuple(faults), code="invalid_budget")

    def covers(self, party: Party, at: datetime) -> bool:
        """Say whether what `party` uses at that time counts against this budget."""
        if self.ends_at is not None and at >= self.ends_at:
            return False
        match self.scope:
            case BudgetScope.HUB:
                return True
            case BudgetScope.KEY:
                return party.subject == self.subject
            case BudgetScope.GROUP:
                return party.group == self.subject
            case BudgetScope.SERVER:
                return party.endpoint_id == self.subject

    def crossed(self, spent_nano_usd: int, *, above: int = 0) -> tuple[int, ...]:
        """Give the percents over `above` that the spend has reached, rising."""
        return tuple(
            percent
            for percent in self.alerts
            if percent > above and spent_nano_usd * 100 >= percent * self.limit_nano_usd
        )

    def _limit_faults(self) -> list[FieldFault]:
        if 1 <= self.limit_nano_usd <= LARGEST_LIMIT:
            return []
        return [FieldFault(("limit_nano_usd",), f"lies between 1 and {LARGEST_LIMIT}")]

    def _subject_faults(self) -> list[FieldFault]:
        if self.scope is BudgetScope.HUB and self.subject:
            return [FieldFault(("subject",), "a budget of the hub has none")]
        if self.scope is not BudgetScope.HUB and not self.subject:
            return [FieldFault(("subject",), f"names the {self.scope.value} it holds for")]
        return []

    def _alert_faults(self) -> list[FieldFault]:
        in_range = all(1 <= percent <= 100 for percent in self.alerts)
        if in_range and list(self.alerts) == sorted(set(self.alerts)):
            return []
        return [FieldFault(("alerts",), "are different percents from 1 to 100, rising")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSnapshot:
    """The prices that entries were computed with; `id` is the digest of `body`."""

    id: str
    body: dict[str, Any]
    source: str
    at: datetime


TOTAL_START = datetime(1970, 1, 1, tzinfo=UTC)
"""Where the one period of TOTAL is said to begin."""


def period_start(period: BudgetPeriod, now: datetime) -> datetime:
    """Give when the period that `now` lies in began."""
    utc = now.astimezone(UTC)
    match period:
        case BudgetPeriod.DAY:
            return utc.replace(hour=0, minute=0, second=0, microsecond=0)
        case BudgetPeriod.MONTH:
            return utc.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        case BudgetPeriod.TOTAL:
            return TOTAL_START


def next_period(period: BudgetPeriod, now: datetime) -> datetime | None:
    """Give when the next period begins, None where there is none."""
    start = period_start(period, now)
    match period:
        case BudgetPeriod.DAY:
            return start + timedelta(days=1)
        case BudgetPeriod.MONTH:
            return (start + timedelta(days=32)).replace(day=1)
        case BudgetPeriod.TOTAL:
            return None


def usd(nano: int) -> str:
    """Write nano-dollars in dollars, exactly, with at least two decimals."""
    sign = "-" if nano < 0 else ""
    dollars, rest = divmod(abs(nano), NANO_PER_USD)
    return f"{sign}{dollars}.{f'{rest:09}'.rstrip('0'):0<2}"


def nano_of(text: str, field: str = "limit_usd") -> int:
    """Read dollars such as "12.5" as nano-dollars, exactly.

    Raises InvalidError at `field` for all that is no plain decimal with at most nine decimals.
    """
    if not _AMOUNT.fullmatch(text):
        raise InvalidError.at(
            field, message="is a text with a plain decimal of at most nine decimals, such as 12.50"
        )
    dollars, _, rest = text.partition(".")
    return int(dollars) * NANO_PER_USD + int(f"{rest:0<9}")


def kept_name(text: str) -> str:
    """Make a name one that every database keeps; what others call their things is not trusted."""
    if len(text) > LONGEST_NAME:
        text = text[: LONGEST_NAME - 1] + "…"
    return text if text.isprintable() else _UNSTORABLE.sub("\ufffd", text)
