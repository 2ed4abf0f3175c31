"""Policy layers in the database."""

from sqlalchemy import JSON, Column, ForeignKeyConstraint, Index, Table

from agenthub.adapters.outbound.storage.columns import METADATA, Moment, Text

POLICIES = Table(
    "gateway_policies",
    METADATA,
    Column("workspace", Text, primary_key=True),
    # "" is the hub's layer; no foreign key could point there, so `endpoint_ref` does.
    Column("endpoint_id", Text, primary_key=True),
    Column("tool", Text, primary_key=True),
    Column("endpoint_ref", Text),
    Column("body", JSON, nullable=False),
    Column("updated_at", Moment, nullable=False),
    ForeignKeyConstraint(
        ["workspace", "endpoint_ref"],
        ["endpoints.workspace", "endpoints.id"],
        name="fk_gateway_policies_endpoint",
        ondelete="CASCADE",
    ),
    Index("ix_gateway_policies_endpoint", "workspace", "endpoint_ref"),
)
