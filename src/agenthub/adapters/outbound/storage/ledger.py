"""The ledger in the database: entries, daily sums that outlive them, prices as they were."""

from sqlalchemy import JSON, BigInteger, Column, Index, Table

from agenthub.adapters.outbound.storage.columns import METADATA, Moment, Text

ENTRIES = Table(
    "ledger_entries",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("kind", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("group_id", Text, nullable=False),
    Column("endpoint_id", Text, nullable=False),
    Column("server", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("model_served", Text, nullable=False),
    Column("instance", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("error_code", Text, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("tokens", JSON(none_as_null=True)),
    Column("price_id", Text, nullable=False),
    Column("reserved_nano_usd", BigInteger, nullable=False),
    Column("cost_nano_usd", BigInteger),
    Index("ix_ledger_entries_at", "workspace", "at"),
    Index("ix_ledger_entries_status", "workspace", "status"),
)

DAYS = Table(
    "usage_days",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("group_id", Text, primary_key=True),
    Column("server", Text, primary_key=True),
    Column("tool", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cost_nano_usd", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
    Column("estimated", BigInteger, nullable=False),
)

PRICES = Table(
    "price_snapshots",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", JSON, nullable=False),
    Column("source", Text, nullable=False),
    Column("at", Moment, nullable=False),
)
