"""/api/policies: which tool calls need a person, which never do, and which never pass."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field, StrictBool

from agenthub.adapters.inbound.http.dependencies import Admin, HubDep, Reader
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.adapters.inbound.http.pagination import Page, PagingDep
from agenthub.adapters.inbound.http.transports import Body
from agenthub.domain.entities.hitl.rule_checks import (
    MAX_CALLERS,
    MAX_CONDITIONS,
    MAX_NAME_LENGTH,
    MAX_PATTERN_LENGTH,
    MAX_PRIORITY,
)
from agenthub.domain.entities.hitl.rules import (
    ApprovalPolicy,
    ArgumentCondition,
    Comparison,
    PolicyAction,
)
from agenthub.domain.services.hitl.rules import PolicyDraft, PolicyPatch

router = APIRouter(prefix="/api/policies", tags=["people"])

NO_POLICY = "There is no such approval policy, or it is revoked already."
PolicyPath = Annotated[str, Path(description="The policy's id.", max_length=128)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
Pattern = Annotated[
    str,
    Field(
        max_length=MAX_PATTERN_LENGTH,
        description="`*` stands for any characters, `?` for one, `\\` before them for themselves; "
        "empty: any.",
    ),
]
Hint = Literal["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"]
Hints = Annotated[
    dict[Hint, StrictBool],
    Field(description="MCP's hints with the value they must have; one not given has its default."),
]
Callers = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]],
    Field(max_length=MAX_CALLERS, description="`owner`, or ids of keys; empty: any."),
]
Priority = Annotated[
    int,
    Field(
        strict=True,
        ge=-MAX_PRIORITY,
        le=MAX_PRIORITY,
        description="The highest that fits decides; of equals deny comes before allow before ask.",
    ),
]


class ConditionIn(Body):
    """What an argument must be. An argument of another type than `value` fits ask and deny."""

    path: Annotated[
        str,
        Field(
            max_length=MAX_PATTERN_LENGTH,
            description="Names joined by dots: `to` or `message.to`.",
            json_schema_extra={"pattern": r"^[a-z]+(\.[a-z]+)*$"},
        ),
    ]
    comparison: Comparison
    value: Any = Field(
        default=None,
        description="Text, a number or a boolean; a pattern for the two with `matches`.",
    )


Conditions = Annotated[list[ConditionIn], Field(max_length=MAX_CONDITIONS)]


class ApprovalPolicyIn(Body):
    """A policy to make. Every condition that is set must fit."""

    name: Name
    action: PolicyAction
    server: Pattern = ""
    tool: Pattern = ""
    annotations: Hints = Field(default_factory=dict[Hint, bool])
    arguments: Conditions = Field(default_factory=list[ConditionIn])
    callers: Callers = Field(default_factory=list[str])
    priority: Priority = 0
    enabled: StrictBool = True

    def draft(self) -> PolicyDraft:
        return PolicyDraft(
            name=self.name,
            action=self.action,
            server=self.server,
            tool=self.tool,
            annotations={**self.annotations},
            arguments=_conditions(self.arguments),
            callers=tuple(self.callers),
            priority=self.priority,
            enabled=self.enabled,
        )


class ApprovalPolicyPatchIn(Body):
    """What is to change; what is missing or null stays. Lists replace the whole list."""

    name: Name | None = None
    action: PolicyAction | None = None
    server: Pattern | None = None
    tool: Pattern | None = None
    annotations: Hints | None = None
    arguments: Conditions | None = None
    callers: Callers | None = None
    priority: Priority | None = None
    enabled: StrictBool | None = None

    def patch(self) -> PolicyPatch:
        return PolicyPatch(
            name=self.name,
            action=self.action,
            server=self.server,
            tool=self.tool,
            annotations=None if self.annotations is None else {**self.annotations},
            arguments=None if self.arguments is None else _conditions(self.arguments),
            callers=None if self.callers is None else tuple(self.callers),
            priority=self.priority,
            enabled=self.enabled,
        )


class ConditionOut(BaseModel):
    path: str
    comparison: Comparison
    value: Any


class ApprovalPolicyOut(BaseModel):
    """A policy, and who made or revoked it."""

    id: str
    name: str
    action: PolicyAction
    server: str
    tool: str
    annotations: dict[str, bool]
    arguments: list[ConditionOut]
    callers: list[str]
    conversation: str = Field(description="Set where a person said yes or no for one only.")
    priority: int
    enabled: bool
    source: str = Field(
        description="The approval whose answer was to be remembered; of a copy that a change left "
        "behind: the policy."
    )
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    revoked_by: str


@router.post(
    "",
    status_code=201,
    summary="Make an approval policy",
    responses=problems(_409="There are too many (`too_many_policies`)."),
)
async def create_policy(
    body: ApprovalPolicyIn, hub: HubDep, principal: Admin, response: Response
) -> ApprovalPolicyOut:
    """It holds for every call from now on."""
    policy = await hub.approvals.policies.create(principal, body.draft())
    response.headers["location"] = f"{router.prefix}/{policy.id}"
    return _show(policy)


@router.get("", summary="List the approval policies")
async def list_policies(
    hub: HubDep,
    principal: Reader,
    paging: PagingDep,
    revoked: Annotated[bool, Query(description="Also those that are revoked.")] = False,
) -> Page[ApprovalPolicyOut]:
    """List the oldest first."""
    rows, cursor = paging.slice(await hub.approvals.policies.all(principal, with_revoked=revoked))
    return Page(items=[_show(row) for row in rows], next_cursor=cursor)


@router.get("/{id}", summary="Look at an approval policy", responses=problems(_404=NO_POLICY))
async def get_policy(id: PolicyPath, hub: HubDep, principal: Reader) -> ApprovalPolicyOut:  # noqa: A002
    """Give it also when it is revoked."""
    return _show(await hub.approvals.policies.get(principal, id))


@router.patch("/{id}", summary="Change an approval policy", responses=problems(_404=NO_POLICY))
async def change_policy(
    id: PolicyPath,  # noqa: A002
    body: ApprovalPolicyPatchIn,
    hub: HubDep,
    principal: Admin,
) -> ApprovalPolicyOut:
    """Change what is given; a revoked copy of what it was stays in the record."""
    return _show(await hub.approvals.policies.change(principal, id, body.patch()))


@router.delete(
    "/{id}",
    status_code=204,
    summary="Revoke an approval policy",
    responses=problems(_404=NO_POLICY),
)
async def revoke_policy(id: PolicyPath, hub: HubDep, principal: Admin) -> None:  # noqa: A002
    """End it; it stays in the record, with who revoked it."""
    await hub.approvals.policies.revoke(principal, id)


def _conditions(given: list[ConditionIn]) -> tuple[ArgumentCondition, ...]:
    return tuple(
        ArgumentCondition(path=one.path, comparison=one.comparison, value=one.value)
        for one in given
    )


def _show(policy: ApprovalPolicy) -> ApprovalPolicyOut:
    return ApprovalPolicyOut(
        id=policy.id,
        name=policy.name,
        action=policy.action,
        server=policy.server,
        tool=policy.tool,
        annotations={**policy.annotations},
        arguments=[
            ConditionOut(path=one.path, comparison=one.comparison, value=one.value)
            for one in policy.arguments
        ],
        callers=list(policy.callers),
        conversation=policy.conversation,
        priority=policy.priority,
        enabled=policy.enabled,
        source=policy.source,
        created_at=policy.created_at,
        created_by=policy.created_by,
        revoked_at=policy.revoked_at,
        revoked_by=policy.revoked_by,
    )
