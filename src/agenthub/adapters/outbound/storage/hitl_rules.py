"""Standing answers of people in the database: approval policies and sampling rules.

Revoked ones stay, for the record. Their patterns name servers that may come and go, so they refer
to none.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Row,
    Select,
    Table,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.columns import METADATA, Document, Moment, Text
from agenthub.domain.entities.hitl.rules import (
    ApprovalPolicy,
    ArgumentCondition,
    Comparison,
    PolicyAction,
    SamplingRule,
)
from agenthub.domain.ids import RuleId, WorkspaceId
from agenthub.domain.ports.outbound.storage.hitl import RuleRepository

POLICIES = Table(
    "approval_policies",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("server", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("annotations", Document, nullable=False),
    Column("arguments", Document, nullable=False),
    Column("callers", Document, nullable=False),
    Column("conversation", Document, nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("revoked_at", Moment),
    Column("revoked_by", Text, nullable=False),
)

SAMPLING_RULES = Table(
    "sampling_rules",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("server", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("daily_nano_usd", BigInteger, nullable=False),
    Column("max_tokens", BigInteger),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("revoked_at", Moment),
    Column("revoked_by", Text, nullable=False),
)


class SqlRuleRepository(RuleRepository):
    def __init__(self, connection: AsyncConnection, workspace: WorkspaceId) -> None:
        self._connection = connection
        self._workspace = workspace

    async def put_policy(self, policy: ApprovalPolicy) -> None:
        await self._put(POLICIES, policy.id, _policy_values(policy))

    async def policies(self, *, with_revoked: bool = False) -> list[ApprovalPolicy]:
        query = self._mine(POLICIES, with_revoked)
        return [_policy(row) for row in await self._connection.execute(query)]

    async def put_sampling(self, rule: SamplingRule) -> None:
        await self._put(SAMPLING_RULES, rule.id, _sampling_values(rule))

    async def sampling(self, *, with_revoked: bool = False) -> list[SamplingRule]:
        query = self._mine(SAMPLING_RULES, with_revoked)
        return [_sampling(row) for row in await self._connection.execute(query)]

    async def _put(self, table: Table, rule_id: RuleId, values: dict[str, Any]) -> None:
        key = {"workspace": self._workspace, "id": rule_id}
        known = update(table).where(*(table.c[name] == value for name, value in key.items()))
        if (await self._connection.execute(known.values(values))).rowcount == 0:
            await self._connection.execute(insert(table), {**key, **values})

    def _mine(self, table: Table, with_revoked: bool) -> Select[Any]:
        query = select(table).where(table.c.workspace == self._workspace)
        if not with_revoked:
            query = query.where(table.c.revoked_at.is_(None))
        return query.order_by(table.c.created_at, table.c.id)


def _policy_values(policy: ApprovalPolicy) -> dict[str, Any]:
    return {
        "name": policy.name,
        "action": policy.action.value,
        "server": policy.server,
        "tool": policy.tool,
        "annotations": dict(policy.annotations),
        "arguments": [
            {"path": one.path, "comparison": one.comparison.value, "value": one.value}
            for one in policy.arguments
        ],
        "callers": policy.callers,
        "conversation": policy.conversation,
        "priority": policy.priority,
        "enabled": policy.enabled,
        "created_at": policy.created_at,
        "created_by": policy.created_by,
        "source": policy.source,
        "revoked_at": policy.revoked_at,
        "revoked_by": policy.revoked_by,
    }


def _policy(row: Row[Any]) -> ApprovalPolicy:
    return ApprovalPolicy(
        id=RuleId(row.id),
        workspace=WorkspaceId(row.workspace),
        name=row.name,
        action=PolicyAction(row.action),
        server=row.server,
        tool=row.tool,
        annotations=row.annotations,
        arguments=tuple(
            ArgumentCondition(
                path=one["path"], comparison=Comparison(one["comparison"]), value=one["value"]
            )
            for one in row.arguments
        ),
        callers=tuple(row.callers),
        conversation=row.conversation,
        priority=row.priority,
        enabled=row.enabled,
        created_at=row.created_at,
        created_by=row.created_by,
        source=row.source,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
    )


def _sampling_values(rule: SamplingRule) -> dict[str, Any]:
    return {
        "server": rule.server,
        "model": rule.model,
        "daily_nano_usd": rule.daily_nano_usd,
        "max_tokens": rule.max_tokens,
        "created_at": rule.created_at,
        "created_by": rule.created_by,
        "revoked_at": rule.revoked_at,
        "revoked_by": rule.revoked_by,
    }


def _sampling(row: Row[Any]) -> SamplingRule:
    return SamplingRule(
        id=RuleId(row.id),
        workspace=WorkspaceId(row.workspace),
        server=row.server,
        model=row.model,
        daily_nano_usd=row.daily_nano_usd,
        max_tokens=row.max_tokens,
        created_at=row.created_at,
        created_by=row.created_by,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
    )
