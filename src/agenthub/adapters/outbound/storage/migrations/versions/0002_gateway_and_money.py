"""The gateway and its money: policies, instances, definitions, notices, ledger, budgets."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _policies()
    _instances()
    _definitions()
    _notices()
    _ledger()
    _budgets()


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)


TABLES = (
    "budget_marks",
    "budget_spends",
    "budgets",
    "price_snapshots",
    "usage_days",
    "ledger_entries",
    "notice_targets",
    "tool_definitions",
    "instances",
    "gateway_policies",
)


def _policies() -> None:
    op.create_table(
        "gateway_policies",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("endpoint_id", TEXT, primary_key=True),
        sa.Column("tool", TEXT, primary_key=True),
        sa.Column("endpoint_ref", TEXT),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace", "endpoint_ref"],
            ["endpoints.workspace", "endpoints.id"],
            name="fk_gateway_policies_endpoint",
            ondelete="CASCADE",
        ),
    )
    op.create_index(
        "ix_gateway_policies_endpoint", "gateway_policies", ["workspace", "endpoint_ref"]
    )


def _instances() -> None:
    op.create_table(
        "instances",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("endpoint_id", TEXT, nullable=False),
        sa.Column("kind", TEXT),
        sa.Column("target", sa.JSON()),
        sa.Column("secrets", sa.LargeBinary()),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace", "endpoint_id"],
            ["endpoints.workspace", "endpoints.id"],
            name="fk_instances_endpoint",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_instances_endpoint", "instances", ["workspace", "endpoint_id"])


def _definitions() -> None:
    op.create_table(
        "tool_definitions",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("endpoint_id", TEXT, primary_key=True),
        sa.Column("era", TEXT, primary_key=True),
        sa.Column("tool", TEXT, primary_key=True),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("accepted_at", MOMENT, nullable=False),
        sa.Column("accepted_by", TEXT, nullable=False),
        sa.Column("pending_digest", TEXT),
        sa.Column("pending", sa.JSON(none_as_null=True)),
        sa.Column("pending_since", MOMENT),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace", "endpoint_id"],
            ["endpoints.workspace", "endpoints.id"],
            name="fk_tool_definitions_endpoint",
            ondelete="CASCADE",
        ),
    )


def _notices() -> None:
    op.create_table(
        "notice_targets",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("last_fault", TEXT),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.UniqueConstraint("workspace", "name", name="uq_notice_targets_name"),
    )


def _ledger() -> None:
    op.create_table(
        "ledger_entries",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("purpose", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("group_id", TEXT, nullable=False),
        sa.Column("endpoint_id", TEXT, nullable=False),
        sa.Column("server", TEXT, nullable=False),
        sa.Column("tool", TEXT, nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("model_served", TEXT, nullable=False),
        sa.Column("instance", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("error_code", TEXT, nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.Column("duration_us", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.JSON(none_as_null=True)),
        sa.Column("price_id", TEXT, nullable=False),
        sa.Column("reserved_nano_usd", sa.BigInteger(), nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger()),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_ledger_entries_at", "ledger_entries", ["workspace", "at"])
    op.create_index(
        "ix_ledger_entries_reserved",
        "ledger_entries",
        ["workspace", "id"],
        postgresql_where=sa.text("status = 'reserved'"),
        sqlite_where=sa.text("status = 'reserved'"),
    )
    _ledger_sums()


def _ledger_sums() -> None:
    op.create_table(
        "usage_days",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("day", TEXT, primary_key=True),
        sa.Column("kind", TEXT, primary_key=True),
        sa.Column("subject", TEXT, primary_key=True),
        sa.Column("group_id", TEXT, primary_key=True),
        sa.Column("server", TEXT, primary_key=True),
        sa.Column("tool", TEXT, primary_key=True),
        sa.Column("model", TEXT, primary_key=True),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.Column("duration_us", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger(), nullable=False),
        sa.Column("unpriced", sa.BigInteger(), nullable=False),
        sa.Column("estimated", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "price_snapshots",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
    )


def _budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("scope", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("limit_nano_usd", sa.BigInteger(), nullable=False),
        sa.Column("period", TEXT, nullable=False),
        sa.Column("hard_stop", sa.Boolean(), nullable=False),
        sa.Column("alerts", sa.JSON(), nullable=False),
        sa.Column("ends_at", MOMENT),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.UniqueConstraint("workspace", "scope", "subject", "period", name="uq_budgets_scope"),
    )
    op.create_table(
        "budget_spends",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("budget_id", TEXT, primary_key=True),
        sa.Column("period_start", MOMENT, primary_key=True),
        sa.Column("spent_nano_usd", sa.BigInteger(), nullable=False),
        sa.Column("reserved_nano_usd", sa.BigInteger(), nullable=False),
        sa.Column("alerted", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace", "budget_id"],
            ["budgets.workspace", "budgets.id"],
            name="fk_budget_spends_budget",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "budget_marks",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
    )
