"""Targets of notifications in the database."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, LargeBinary, Table, UniqueConstraint

from agenthub.adapters.outbound.storage.columns import METADATA, Moment, Text

NOTICE_TARGETS = Table(
    "notice_targets",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("secrets", LargeBinary, nullable=False),
    Column("events", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("last_fault", Text),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    UniqueConstraint("workspace", "name", name="uq_notice_targets_name"),
)
