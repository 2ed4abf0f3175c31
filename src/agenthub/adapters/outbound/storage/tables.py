"""Every table of the hub, in one register."""

from agenthub.adapters.outbound.storage import endpoints, events, groups, identity
from agenthub.adapters.outbound.storage.columns import METADATA

TABLES = (
    endpoints.ENDPOINTS,
    groups.GROUPS,
    groups.MEMBERS,
    identity.KEYS,
    events.EVENTS,
)
assert {table.name for table in TABLES} == set(METADATA.tables)
