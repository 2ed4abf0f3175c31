"""Instances of servers in the database."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
)

from agenthub.adapters.outbound.storage.columns import METADATA, Moment, Text

INSTANCES = Table(
    "instances",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("endpoint_id", Text, nullable=False),
    Column("kind", Text),
    Column("target", JSON),
    Column("secrets", LargeBinary),
    Column("weight", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("draining", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    ForeignKeyConstraint(
        ["workspace", "endpoint_id"],
        ["endpoints.workspace", "endpoints.id"],
        name="fk_instances_endpoint",
        ondelete="CASCADE",
    ),
    Index("ix_instances_endpoint", "workspace", "endpoint_id"),
)
