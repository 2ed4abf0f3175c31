"""Budgets in the database, and what each of their periods has used."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Integer,
    Table,
    UniqueConstraint,
)

from agenthub.adapters.outbound.storage.columns import METADATA, Moment, Text

BUDGETS = Table(
    "budgets",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("limit_nano_usd", BigInteger, nullable=False),
    Column("period", Text, nullable=False),
    Column("hard_stop", Boolean, nullable=False),
    Column("alerts", JSON, nullable=False),
    Column("ends_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    UniqueConstraint("workspace", "scope", "subject", "period", name="uq_budgets_scope"),
)

SPENDS = Table(
    "budget_spends",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("budget_id", Text, primary_key=True),
    Column("period_start", Moment, primary_key=True),
    Column("spent_nano_usd", BigInteger, nullable=False),
    Column("reserved_nano_usd", BigInteger, nullable=False),
    Column("alerted", Integer, nullable=False),
    ForeignKeyConstraint(
        ["workspace", "budget_id"],
        ["budgets.workspace", "budgets.id"],
        name="fk_budget_spends_budget",
        ondelete="CASCADE",
    ),
)
