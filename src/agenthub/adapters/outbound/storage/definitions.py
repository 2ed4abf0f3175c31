"""Accepted tool definitions in the database."""

from sqlalchemy import JSON, Boolean, Column, ForeignKeyConstraint, Table

from agenthub.adapters.outbound.storage.columns import METADATA, Moment, Text

DEFINITIONS = Table(
    "tool_definitions",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("endpoint_id", Text, primary_key=True),
    Column("era", Text, primary_key=True),
    Column("tool", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("definition", JSON, nullable=False),
    Column("accepted_at", Moment, nullable=False),
    Column("accepted_by", Text, nullable=False),
    Column("pending_digest", Text),
    Column("pending", JSON(none_as_null=True)),
    Column("pending_since", Moment),
    Column("held", Boolean, nullable=False),
    ForeignKeyConstraint(
        ["workspace", "endpoint_id"],
        ["endpoints.workspace", "endpoints.id"],
        name="fk_tool_definitions_endpoint",
        ondelete="CASCADE",
    ),
)
