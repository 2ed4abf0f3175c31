"""What each call is charged and recorded with, whether it is free or has a price."""

from dataclasses import dataclass, replace

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.cost import Entry, EntryKind, EntryStatus, Party, Purpose
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import HeldBackError, HubError, OverLimitError, RpcError
from agenthub.domain.ids import EntryId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.mcp_client import Answer
from agenthub.domain.services.cost.budgets import BudgetService
from agenthub.domain.services.cost.ledger import LedgerService, OpenEntry
from agenthub.domain.services.resilience.stats import CallStats

TOOL_ERROR = "tool_error"
"""The OpenTelemetry `error.type` of a result that says of itself that it is an error."""

_IS_ERROR, _IS_ERROR_SPACED = b'"isError":true', b'"isError": true'
"""Within strings of JSON a quote is escaped, so these bytes are a member wherever they stand."""


@dataclass(slots=True)
class Ending:
    """How a call ended. `code` is empty where all went well."""

    status: EntryStatus
    code: str = ""
    bytes_out: int = 0
    is_charged: bool = False


@dataclass(slots=True)
class Account:
    """One call under way, to be closed once. A priced call has its money reserved."""

    principal: Principal
    purpose: Purpose
    party: Party
    started: float
    record: OpenEntry | Entry


@dataclass(slots=True)
class Charge:
    """What a call is: who makes it, of what, and how large it is."""

    principal: Principal
    purpose: Purpose
    target: Target
    tool: str | None
    bytes_in: int

    def party(self) -> Party:
        return Party(
            subject=self.principal.subject,
            group=self.principal.group or "",
            endpoint_id=self.target.endpoint_id,
            server=self.target.server,
            tool=self.target.key if self.tool is None else self.tool,
        )


class CallAccounts:
    """Opens and closes accounts; counts every call for the metrics as well."""

    def __init__(
        self,
        *,
        budgets: BudgetService,
        clock: Clock,
        ids: IdFactory,
        ledger: LedgerService,
        stats: CallStats,
    ) -> None:
        self._budgets = budgets
        self._clock = clock
        self._ids = ids
        self._ledger = ledger
        self._stats = stats

    async def open(self, charge: Charge, price_nano_usd: int | None) -> Account:
        """Note the call before it is made; set its price aside. Raises QuotaError."""
        party, now = charge.party(), self._clock.monotonic()
        record: OpenEntry | Entry
        if not price_nano_usd:
            record = self._ledger.begin(charge.principal, charge.purpose, party, charge.bytes_in)
        else:
            record = Entry(
                id=EntryId(self._ids.new()),
                workspace=charge.principal.workspace,
                at=self._clock.now(),
                kind=EntryKind.TOOL,
                purpose=charge.purpose,
                party=party,
                status=EntryStatus.RESERVED,
                bytes_in=charge.bytes_in,
                reserved_nano_usd=price_nano_usd,
            )
            # Counted first: of calls at the same time, each is to see the others.
            self._ledger.count(party)
            try:
                await self._budgets.reserve(charge.principal, record)
            except HubError as error:
                self._ledger.take_back(party, record.at)
                self._stats.count(party.server, charge.purpose.value, error.code, 0.0)
                raise
        return Account(charge.principal, charge.purpose, party, now, record)

    def refuse(self, charge: Charge, error: HubError) -> None:
        """Record a call that a limit held back before it began."""
        party = charge.party()
        opened = self._ledger.begin(charge.principal, charge.purpose, party, charge.bytes_in)
        self._ledger.end(opened, status=EntryStatus.REFUSED, error_code=error.code)
        self._stats.count(party.server, charge.purpose.value, error.code, 0.0)

    async def close(self, account: Account, ending: Ending, instance: str) -> None:
        """Record how a call ended, and settle what it costs."""
        took_s = self._clock.monotonic() - account.started
        self._stats.count(
            account.party.server,
            account.purpose.value,
            ending.code or ending.status.value,
            took_s,
        )
        duration_us = int(took_s * 1e6)
        record = account.record
        if isinstance(record, OpenEntry):
            self._ledger.end(
                record,
                status=ending.status,
                error_code=ending.code,
                instance=instance,
                bytes_out=ending.bytes_out,
                duration_us=duration_us,
            )
            return
        if ending.status is EntryStatus.REFUSED:
            self._ledger.take_back(account.party, record.at)
        settled = replace(
            record,
            status=ending.status,
            error_code=ending.code,
            instance=instance,
            bytes_out=ending.bytes_out,
            duration_us=duration_us,
            cost_nano_usd=record.reserved_nano_usd if ending.is_charged else 0,
        )
        await self._budgets.settle(account.principal, settled)


def ending_of_answer(answer: Answer) -> Ending:
    """Judge a server's answer. One that asks for input is not charged: the call goes on."""
    size = len(answer.result)
    if answer.input_required is not None:
        return Ending(EntryStatus.INPUT_REQUIRED, bytes_out=size)
    if not is_good(answer):
        return Ending(EntryStatus.ERROR, TOOL_ERROR, size, is_charged=True)
    return Ending(EntryStatus.OK, bytes_out=size, is_charged=True)


def is_good(answer: Answer) -> bool:
    """Say whether an answer is final and no error of the tool."""
    result = answer.result
    return answer.input_required is None and not (_IS_ERROR in result or _IS_ERROR_SPACED in result)


def ending_of_error(error: BaseException, *, is_sent: bool, is_unsure: bool) -> Ending:
    """Judge a failure. Where nobody knows whether the server did its work, it is charged."""
    match error:
        case OverLimitError() | HeldBackError() if not is_sent:
            return Ending(EntryStatus.REFUSED, error.code)
        case RpcError():
            return Ending(EntryStatus.ERROR, "rpc_error", is_charged=is_unsure)
        case HubError():
            return Ending(EntryStatus.ERROR, error.code, is_charged=is_unsure)
        case Exception():
            return Ending(EntryStatus.ERROR, "internal", is_charged=is_unsure)
        case _:
            return Ending(EntryStatus.ABORTED, "cancelled", is_charged=is_unsure)
