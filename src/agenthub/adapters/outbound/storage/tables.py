"""Every table of the hub, in one register."""

from sqlalchemy import Column, Connection, MetaData, String, Table, insert

from agenthub.adapters.outbound.storage import (
    budgets,
    definitions,
    endpoints,
    events,
    groups,
    held_calls,
    hitl_requests,
    hitl_rules,
    identity,
    instances,
    ledger,
    notices,
    policies,
    usage_days,
)
from agenthub.adapters.outbound.storage.columns import METADATA, REVISION

TABLES = (
    endpoints.ENDPOINTS,
    groups.GROUPS,
    groups.MEMBERS,
    identity.KEYS,
    events.EVENTS,
    policies.POLICIES,
    instances.INSTANCES,
    definitions.DEFINITIONS,
    notices.NOTICE_TARGETS,
    ledger.ENTRIES,
    usage_days.DAYS,
    ledger.PRICES,
    budgets.BUDGETS,
    budgets.SPENDS,
    budgets.MARKS,
    hitl_requests.REQUESTS,
    held_calls.HELD_CALLS,
    hitl_rules.POLICIES,
    hitl_rules.SAMPLING_RULES,
)
assert {table.name for table in TABLES} == set(METADATA.tables)

_ALEMBIC = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


def create(connection: Connection) -> None:
    """Make all tables in an empty database, as the migrations would, and note their revision."""
    METADATA.create_all(connection)
    _ALEMBIC.create(connection)
    connection.execute(insert(_ALEMBIC).values(version_num=REVISION))
