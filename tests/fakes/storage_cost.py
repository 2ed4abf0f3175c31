"""The ledger and the budgets in memory."""

from collections import defaultdict
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, date, datetime, time

from agenthub.domain.entities.cost import (
    Budget,
    Entry,
    EntryKind,
    EntryStatus,
    PriceSnapshot,
)
from agenthub.domain.exceptions import ConflictError, InvalidError, NotFoundError
from agenthub.domain.ids import BudgetId, EntryId, WorkspaceId
from agenthub.domain.ports.outbound.storage.cost import (
    BudgetRepository,
    DayCalls,
    EntryFilter,
    LedgerRepository,
    Spend,
    SummaryKey,
    SummaryRow,
)

COUNTS = tuple(name for name in SummaryRow.__dataclass_fields__ if name != "key")


@dataclass
class CostRows:
    """What one workspace keeps of money and use. `counted`: entries that are in the summaries."""

    entries: dict[EntryId, Entry] = field(default_factory=dict[EntryId, Entry])
    counted: list[Entry] = field(default_factory=list[Entry])
    prices: dict[str, PriceSnapshot] = field(default_factory=dict[str, PriceSnapshot])
    budgets: dict[BudgetId, Budget] = field(default_factory=dict[BudgetId, Budget])
    spends: dict[tuple[BudgetId, datetime], Spend] = field(
        default_factory=dict[tuple[BudgetId, datetime], Spend]
    )
    marks: set[str] = field(default_factory=set[str])

    def __deepcopy__(self, memo: object) -> "CostRows":
        """Copy the tables and share the rows: they never change."""
        return CostRows(
            dict(self.entries),
            list(self.counted),
            dict(self.prices),
            dict(self.budgets),
            dict(self.spends),
            set(self.marks),
        )


class FakeLedgerRepository(LedgerRepository):
    def __init__(self, rows: CostRows, workspace: WorkspaceId) -> None:
        self._rows = rows
        self._workspace = workspace

    async def add(self, entries: list[Entry]) -> list[Entry]:
        for entry in entries:
            _check(entry)
        added: list[Entry] = []
        for entry in entries:
            if entry.id not in self._rows.entries:
                kept = replace(entry, workspace=self._workspace)
                self._rows.entries[entry.id] = kept
                self._count(kept)
                added.append(entry)
        return added

    async def settle(self, entry: Entry) -> Entry | None:
        former = self._rows.entries.get(entry.id)
        if former is None or former.status is not EntryStatus.RESERVED:
            return None
        _check(entry)
        settled = replace(
            entry,
            workspace=self._workspace,
            at=former.at,
            kind=former.kind,
            purpose=former.purpose,
            party=former.party,
            reserved_nano_usd=former.reserved_nano_usd,
        )
        self._rows.entries[entry.id] = settled
        self._count(settled)
        return former

    async def reserved(self) -> list[Entry]:
        under_way = [e for e in self._rows.entries.values() if e.status is EntryStatus.RESERVED]
        return sorted(under_way, key=lambda entry: entry.id)

    async def page(self, where: EntryFilter, *, limit: int, before: EntryId | None) -> list[Entry]:
        found = [
            entry
            for entry in self._rows.entries.values()
            if _admits(where, entry)
            and (where.since is None or entry.at >= where.since)
            and (where.until is None or entry.at < where.until)
            and (before is None or entry.id < before)
        ]
        return sorted(found, key=lambda entry: entry.id, reverse=True)[:limit]

    async def summary(self, by: SummaryKey, where: EntryFilter) -> list[SummaryRow]:
        sums: dict[str, list[int]] = defaultdict(lambda: [0] * len(COUNTS))
        for entry in self._rows.counted:
            if _admits(where, entry) and _in_days(where, _day(entry)):
                sums[_key(by, entry)] = [
                    a + b for a, b in zip(sums[_key(by, entry)], _counts(entry), strict=True)
                ]
        rows = [
            SummaryRow(key=key, **dict(zip(COUNTS, counts, strict=True)))
            for key, counts in sums.items()
        ]
        if by is SummaryKey.DAY:
            return sorted(rows, key=lambda row: row.key)
        return sorted(rows, key=lambda r: (-r.cost_nano_usd, -r.tool_calls - r.model_calls, r.key))

    async def calls_on(self, day: date) -> list[DayCalls]:
        calls: dict[tuple[str, str, str], int] = defaultdict(int)
        for entry in self._rows.counted:
            if (
                _day(entry) == day
                and entry.kind is EntryKind.TOOL
                and entry.status is not EntryStatus.REFUSED
            ):
                calls[entry.party.subject, entry.party.server, entry.party.tool] += 1
        return [DayCalls(*key, count) for key, count in calls.items()]

    async def prune(self, *, before: datetime) -> int:
        old = [
            entry.id
            for entry in self._rows.entries.values()
            if entry.at < before and entry.status is not EntryStatus.RESERVED
        ]
        for entry_id in old:
            del self._rows.entries[entry_id]
        return len(old)

    async def put_price(self, price: PriceSnapshot) -> None:
        self._rows.prices.setdefault(price.id, price)

    async def price(self, price_id: str) -> PriceSnapshot | None:
        return self._rows.prices.get(price_id)

    def _count(self, entry: Entry) -> None:
        if entry.status is not EntryStatus.RESERVED:
            self._rows.counted.append(entry)


class FakeBudgetRepository(BudgetRepository):
    def __init__(self, rows: CostRows, workspace: WorkspaceId) -> None:
        self._rows = rows
        self._workspace = workspace

    async def add(self, budget: Budget) -> None:
        self._keep(budget)

    async def save(self, budget: Budget) -> None:
        if budget.id not in self._rows.budgets:
            raise NotFoundError("no such budget", code="budget_not_found")
        self._keep(budget)

    async def remove(self, budget_id: BudgetId) -> None:
        if self._rows.budgets.pop(budget_id, None) is None:
            raise NotFoundError("no such budget", code="budget_not_found")
        for key in [key for key in self._rows.spends if key[0] == budget_id]:
            del self._rows.spends[key]

    async def all(self) -> list[Budget]:
        return sorted(self._rows.budgets.values(), key=lambda budget: budget.id)

    async def spend(self, budget_id: BudgetId, period_start: datetime) -> Spend:
        return self._rows.spends.get((budget_id, period_start), Spend())

    async def put_spend(self, budget_id: BudgetId, period_start: datetime, spend: Spend) -> None:
        assert budget_id in self._rows.budgets
        self._rows.spends[budget_id, period_start] = spend

    async def mark(self, name: str) -> bool:
        is_new = name not in self._rows.marks
        self._rows.marks.add(name)
        return is_new

    def _keep(self, budget: Budget) -> None:
        _check_text(budget.subject)
        others = (b for b in self._rows.budgets.values() if b.id != budget.id)
        wanted = (budget.scope, budget.subject, budget.period)
        if any((b.scope, b.subject, b.period) == wanted for b in others):
            raise ConflictError("taken", code="budget_taken")
        self._rows.budgets[budget.id] = replace(budget, workspace=self._workspace)


def _admits(where: EntryFilter, entry: Entry) -> bool:
    party = entry.party
    wanted = (
        (where.kind, entry.kind),
        (where.subject, party.subject),
        (where.group, party.group),
        (where.server, party.server),
        (where.tool, party.tool),
        (where.model, party.model),
    )
    return all(want is None or want == have for want, have in wanted)


def _day(entry: Entry) -> date:
    return entry.at.astimezone(UTC).date()


def _in_days(where: EntryFilter, day: date) -> bool:
    if where.since is not None and day < where.since.astimezone(UTC).date():
        return False
    return where.until is None or datetime.combine(day, time(), UTC) < where.until


def _key(by: SummaryKey, entry: Entry) -> str:
    party = entry.party
    match by:
        case SummaryKey.DAY:
            return _day(entry).isoformat()
        case SummaryKey.SERVER:
            return party.server
        case SummaryKey.TOOL:
            return f"{party.server}/{party.tool}" if party.tool else ""
        case SummaryKey.MODEL:
            return party.model
        case SummaryKey.KEY:
            return party.subject


def _counts(entry: Entry) -> list[int]:
    counts = {
        "tool_calls": entry.kind is EntryKind.TOOL,
        "model_calls": entry.kind is EntryKind.MODEL,
        "errors": entry.status is EntryStatus.ERROR,
        "refused": entry.status is EntryStatus.REFUSED,
        "bytes_in": entry.bytes_in,
        "bytes_out": entry.bytes_out,
        "duration_us": entry.duration_us,
        "prompt_tokens": entry.tokens.prompt,
        "completion_tokens": entry.tokens.completion,
        "cost_nano_usd": entry.cost_nano_usd or 0,
        "unpriced": entry.is_unpriced,
        "estimated": entry.status is EntryStatus.ESTIMATED,
    }
    return [int(counts[name]) for name in COUNTS]


def _check(entry: Entry) -> None:
    _check_text(entry.id, *astuple(entry.party), entry.error_code, entry.instance)


def _check_text(*texts: str) -> None:
    for text in texts:
        if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
            raise InvalidError("unstorable text", code="invalid_text")
