"""What the event feed says of questions to people."""

from datetime import datetime

from agenthub.domain.entities.hitl.request import HitlRequest, RequestKind
from agenthub.domain.event import (
    ApprovalAsked,
    DomainEvent,
    ElicitationAsked,
    RequestResolved,
    SamplingAsked,
)

CALL_TOOL = "tools/call"
_ASKED = {
    RequestKind.SAMPLING: SamplingAsked,
    RequestKind.ELICITATION: ElicitationAsked,
    RequestKind.APPROVAL: ApprovalAsked,
}


def is_news(moved: HitlRequest, was: HitlRequest) -> bool:
    """Say whether people are to be told: it has moved, or has an answer to look over."""
    return moved.status is not was.status or (moved.result is None) is not (was.result is None)


def asked(request: HitlRequest, now: datetime) -> DomainEvent:
    """Tell that a question waits for a person."""
    return _ASKED[request.KIND](
        workspace=request.workspace,
        at=now,
        request_id=request.id,
        server=request.origin.server,
        tool=_tool(request),
        expires_at=request.expires_at,
        group=request.origin.group,
    )


def resolved(request: HitlRequest, now: datetime) -> DomainEvent:
    """Tell that a question has moved."""
    return RequestResolved(
        workspace=request.workspace,
        at=now,
        request_id=request.id,
        kind=request.KIND.value,
        server=request.origin.server,
        tool=_tool(request),
        status=request.status.value,
        by=request.decided_by,
        group=request.origin.group,
    )


def _tool(request: HitlRequest) -> str:
    """Name the tool; of other calls no key, for that of a resource is what its caller asked for."""
    origin = request.origin
    return origin.key if origin.deed == CALL_TOOL else ""
