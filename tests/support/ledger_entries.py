"""Valid entries and budgets for tests."""

from typing import Any

from agenthub.domain.entities.cost import (
    Budget,
    BudgetScope,
    Entry,
    EntryKind,
    EntryStatus,
    Party,
    Purpose,
)
from agenthub.domain.ids import DEFAULT_WORKSPACE, BudgetId, EntryId
from tests.fakes.clock import NEW_YEAR

CALLER = Party(subject="K-ann", group="G-dev", endpoint_id="E-time", server="time", tool="now")
WRITER = Party(subject="K-ann", group="G-dev", model="gpt-5.5")


def entry(entry_id: str, /, **changes: Any) -> Entry:
    """A call of a tool that went well."""
    given: dict[str, Any] = {
        "id": EntryId(entry_id),
        "workspace": DEFAULT_WORKSPACE,
        "at": NEW_YEAR,
        "kind": EntryKind.TOOL,
        "purpose": Purpose.TOOL_CALL,
        "party": CALLER,
        "status": EntryStatus.OK,
        "instance": "E-time",
        "bytes_in": 10,
        "bytes_out": 200,
        "duration_us": 3_000,
    }
    return Entry(**{**given, **changes})


def reservation(entry_id: str, nano: int, /, **changes: Any) -> Entry:
    """A model call under way that may cost `nano`."""
    given: dict[str, Any] = {
        "kind": EntryKind.MODEL,
        "purpose": Purpose.CHAT,
        "party": WRITER,
        "status": EntryStatus.RESERVED,
        "instance": "",
        "bytes_in": 0,
        "bytes_out": 0,
        "duration_us": 0,
        "reserved_nano_usd": nano,
    }
    return entry(entry_id, **{**given, **changes})


def budget(budget_id: str, limit: int, /, **changes: Any) -> Budget:
    """A monthly budget of the hub in nano-dollars."""
    given: dict[str, Any] = {
        "id": BudgetId(budget_id),
        "workspace": DEFAULT_WORKSPACE,
        "scope": BudgetScope.HUB,
        "limit_nano_usd": limit,
        "created_at": NEW_YEAR,
        "updated_at": NEW_YEAR,
    }
    return Budget(**{**given, **changes})
