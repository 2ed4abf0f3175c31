"""Where the ledger and the budgets are kept."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from agenthub.domain.entities.cost import Budget, Entry, EntryKind, PriceSnapshot
from agenthub.domain.ids import BudgetId, EntryId


class SummaryKey(StrEnum):
    """By what a summary is told apart."""

    DAY = "day"
    SERVER = "server"
    TOOL = "tool"
    MODEL = "model"
    KEY = "key"


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRow:
    """Sums over the entries of one day, server, tool, model or key."""

    key: str
    tool_calls: int
    model_calls: int
    errors: int
    refused: int
    bytes_in: int
    bytes_out: int
    duration_us: int
    prompt_tokens: int
    completion_tokens: int
    cost_nano_usd: int
    unpriced: int
    estimated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What a budget's period has used. `alerted` is the highest percent told already."""

    spent_nano_usd: int = 0
    reserved_nano_usd: int = 0
    alerted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """Which entries are wanted; None admits all. `since` is included, `until` is not."""

    since: datetime | None = None
    until: datetime | None = None
    kind: EntryKind | None = None
    subject: str | None = None
    group: str | None = None
    server: str | None = None
    tool: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class DayCalls:
    """How often a party called a tool on one day. Refused calls do not count."""

    subject: str
    server: str
    tool: str
    calls: int


class LedgerRepository(ABC):
    """The ledger of the transaction's workspace. An entry's id is kept once.

    Days of summaries are those of `Entry.at` in UTC.
    """

    @abstractmethod
    async def add(self, entries: list[Entry]) -> list[Entry]:
        """Keep entries whose ids are new, and give those. What is there already stays as it is."""

    @abstractmethod
    async def settle(self, entry: Entry) -> Entry | None:
        """End an entry that is RESERVED; give what it was, None where it is settled or gone.

        What was known before stays: its time, kind, purpose, party and reservation.
        """

    @abstractmethod
    async def reserved(self) -> list[Entry]:
        """List the entries that are under way."""

    @abstractmethod
    async def page(self, where: EntryFilter, *, limit: int, before: EntryId | None) -> list[Entry]:
        """List entries newest first (by id), those before `before`."""

    @abstractmethod
    async def summary(self, by: SummaryKey, where: EntryFilter) -> list[SummaryRow]:
        """Sum up, days in their order, all else by cost, then by calls, falling.

        Whole days only: from the day of `since` to the last one that begins before `until`.
        RESERVED entries are left out. A tool's key is SERVER/TOOL; what has no such key is summed
        up under the empty one, so that the rows add up to the whole.
        """

    @abstractmethod
    async def calls_on(self, day: date) -> list[DayCalls]:
        """Count the tool calls of one day (UTC)."""

    @abstractmethod
    async def prune(self, *, before: datetime) -> int:
        """Drop settled entries older than `before`; summaries keep them. Says how many."""

    @abstractmethod
    async def put_price(self, price: PriceSnapshot) -> None:
        """Keep a snapshot once."""

    @abstractmethod
    async def price(self, price_id: str) -> PriceSnapshot | None:
        """Look up a snapshot."""


class BudgetRepository(ABC):
    """Budgets of the transaction's workspace, and what they have used."""

    @abstractmethod
    async def add(self, budget: Budget) -> None:
        """Keep a new budget.

        Raises ConflictError (code `budget_taken`): one a scope, subject and period.
        """

    @abstractmethod
    async def save(self, budget: Budget) -> None:
        """Replace a budget. Raises NotFoundError (`budget_not_found`), ConflictError."""

    @abstractmethod
    async def remove(self, budget_id: BudgetId) -> None:
        """Forget a budget and its spend. Raises NotFoundError (code `budget_not_found`)."""

    @abstractmethod
    async def all(self) -> list[Budget]:
        """List every budget by id."""

    @abstractmethod
    async def spend(self, budget_id: BudgetId, period_start: datetime) -> Spend:
        """Give what the period has used, zeros where nothing was."""

    @abstractmethod
    async def put_spend(self, budget_id: BudgetId, period_start: datetime, spend: Spend) -> None:
        """Keep what the period has used. The budget must be there."""

    @abstractmethod
    async def mark(self, name: str) -> bool:
        """Note for good that something was done, and say whether it is new."""
