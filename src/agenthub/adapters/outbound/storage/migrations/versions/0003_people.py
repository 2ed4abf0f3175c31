"""People in the loop: questions to them, calls that wait for them, their standing answers."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
DOCUMENT = TEXT
"""JSON in ASCII."""
MOMENT = sa.DateTime(timezone=True)
TABLES = ("sampling_rules", "approval_policies", "held_calls", "hitl_requests")


def upgrade() -> None:
    _requests()
    _held_calls()
    _policies()
    _sampling_rules()


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)


def _requests() -> None:
    op.create_table(
        "hitl_requests",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("lease", TEXT),
        sa.Column("held", TEXT, nullable=False),
        sa.Column("endpoint_id", TEXT, nullable=False),
        sa.Column("group_id", TEXT),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("decided_at", MOMENT),
        sa.Column("decided_by", TEXT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("policy", TEXT),
        sa.Column("rule", TEXT),
        sa.Column("entry", TEXT),
        sa.Column("reserved_nano_usd", sa.BigInteger(), nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger()),
        sa.Column("origin", DOCUMENT, nullable=False),
        sa.Column("key", DOCUMENT, nullable=False),
        sa.Column("reason", DOCUMENT, nullable=False),
        sa.Column("decision", DOCUMENT),
        sa.Column("result", DOCUMENT),
        sa.Column("shown", DOCUMENT, nullable=False),
    )
    op.create_index("ix_hitl_requests_kind", "hitl_requests", ["workspace", "kind", "id"])
    _partial(
        "ix_hitl_requests_open",
        ["status", "kind", "id"],
        "status IN ('pending', 'approved')",
    )
    _partial("ix_hitl_requests_rule", ["rule", "decided_at"], "rule IS NOT NULL")
    _partial("ix_hitl_requests_ended", ["ended_at"], "ended_at IS NOT NULL")


def _partial(name: str, columns: list[str], where: str) -> None:
    op.create_index(
        name,
        "hitl_requests",
        ["workspace", *columns],
        postgresql_where=sa.text(where),
        sqlite_where=sa.text(where),
    )


def _held_calls() -> None:
    op.create_table(
        "held_calls",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("lease", TEXT),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("binding", TEXT, nullable=False),
        sa.Column("view_group", TEXT),
        sa.Column("view_server", TEXT),
        sa.Column("era", TEXT, nullable=False),
        sa.Column("deed", TEXT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("delivered_at", MOMENT),
        sa.Column("agent", DOCUMENT, nullable=False),
        sa.Column("conversation", DOCUMENT, nullable=False),
        sa.Column("key", DOCUMENT, nullable=False),
        sa.Column("ref", DOCUMENT),
        sa.Column("requests", DOCUMENT, nullable=False),
        sa.Column("going_on", DOCUMENT),
        sa.Column("outcome", DOCUMENT),
        sa.Column("meta", DOCUMENT, nullable=False),
        sa.Column("params", DOCUMENT, nullable=False),
    )


def _policies() -> None:
    op.create_table(
        "approval_policies",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("server", TEXT, nullable=False),
        sa.Column("tool", TEXT, nullable=False),
        sa.Column("annotations", DOCUMENT, nullable=False),
        sa.Column("arguments", DOCUMENT, nullable=False),
        sa.Column("callers", DOCUMENT, nullable=False),
        sa.Column("conversation", DOCUMENT, nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("revoked_at", MOMENT),
        sa.Column("revoked_by", TEXT, nullable=False),
    )


def _sampling_rules() -> None:
    op.create_table(
        "sampling_rules",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("server", TEXT, nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("daily_nano_usd", sa.BigInteger(), nullable=False),
        sa.Column("max_tokens", sa.BigInteger()),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", TEXT, nullable=False),
        sa.Column("revoked_at", MOMENT),
        sa.Column("revoked_by", TEXT, nullable=False),
    )
