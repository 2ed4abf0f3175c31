"""The first tables: endpoints, groups with their members, API keys, the event feed."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
MOMENT = sa.DateTime(timezone=True)
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _endpoints()
    _groups()
    _api_keys()
    _events()


def downgrade() -> None:
    for table in ("events", "api_keys", "group_members", "groups", "endpoints"):
        op.drop_table(table)


def _endpoints() -> None:
    op.create_table(
        "endpoints",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("target", sa.JSON(), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=False),
        sa.Column("era", TEXT, nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.UniqueConstraint("workspace", "name", name="uq_endpoints_name"),
    )


def _groups() -> None:
    op.create_table(
        "groups",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("slug", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.UniqueConstraint("workspace", "slug", name="uq_groups_slug"),
    )
    op.create_table(
        "group_members",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("group_id", TEXT, primary_key=True),
        sa.Column("endpoint_id", TEXT, primary_key=True),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("tools", sa.JSON()),
        sa.Column("resources", sa.JSON()),
        sa.Column("prompts", sa.JSON()),
        sa.ForeignKeyConstraint(
            ["workspace", "group_id"],
            ["groups.workspace", "groups.id"],
            name="fk_group_members_group",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace", "endpoint_id"],
            ["endpoints.workspace", "endpoints.id"],
            name="fk_group_members_endpoint",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_group_members_endpoint_id", "group_members", ["endpoint_id"])


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("workspace", TEXT, primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("prefix", TEXT, nullable=False),
        sa.Column("secret_sha256", TEXT, nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("group_id", TEXT),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.UniqueConstraint("secret_sha256", name="uq_api_keys_secret"),
        sa.ForeignKeyConstraint(
            ["workspace", "group_id"],
            ["groups.workspace", "groups.id"],
            name="fk_api_keys_group",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_api_keys_group_id", "api_keys", ["group_id"])


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("workspace", TEXT, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_workspace", "events", ["workspace", "id"])
