"""What was used and what it cost, for those who may know."""

from dataclasses import dataclass, fields, replace

from agenthub.domain.entities.cost import Entry
from agenthub.domain.entities.identity import Principal, Scope
from agenthub.domain.exceptions import InvalidError
from agenthub.domain.ids import EntryId
from agenthub.domain.ports.outbound.storage.cost import EntryFilter, SummaryKey, SummaryRow
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork

TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Summary:
    """Sums by one key, and all of them together."""

    rows: list[SummaryRow]
    total: SummaryRow


class CostService:
    """Reads the ledger. A key that is bound to a group sees the entries of that group alone."""

    def __init__(self, *, uow: UnitOfWork) -> None:
        self._uow = uow

    async def summary(self, principal: Principal, by: SummaryKey, where: EntryFilter) -> Summary:
        """Sum up whole days (UTC). Raises InvalidError, DeniedError."""
        where = _seen(principal, where)
        async with self._uow.read(principal) as stored:
            rows = await stored.ledger.summary(by, where)
        return Summary(rows, _total(rows))

    async def page(
        self, principal: Principal, where: EntryFilter, *, limit: int, before: str | None
    ) -> list[Entry]:
        """List entries, the newest first; `before` is the last id of the page before."""
        where = _seen(principal, where)
        last = None if before is None else EntryId(before)
        async with self._uow.read(principal) as stored:
            return await stored.ledger.page(where, limit=limit, before=last)


def _seen(principal: Principal, where: EntryFilter) -> EntryFilter:
    principal.require(Scope.HUB_READ)
    if where.since is not None and where.until is not None and where.until <= where.since:
        raise InvalidError.at("query", "until", message="must be later than since")
    return where if principal.group is None else replace(where, group=principal.group)


def _total(rows: list[SummaryRow]) -> SummaryRow:
    counts = [one.name for one in fields(SummaryRow) if one.name != "key"]
    return SummaryRow(
        key=TOTAL, **{name: sum(getattr(row, name) for row in rows) for name in counts}
    )
