"""Questions and held calls in every state they can be in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from agenthub.domain.entities.hitl.elicitation_request import Action, ElicitationRequest
from agenthub.domain.entities.hitl.held_call import HeldCall
from agenthub.domain.entities.hitl.request import HitlRequest, Origin
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.ids import EndpointId, HeldCallId, RequestId, WorkspaceId

R = TypeVar("R", bound=HitlRequest)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATE = NOW + timedelta(minutes=10)
FORM = {"message": "How old?", "requestedSchema": {"type": "object", "properties": {}}}
LINK = {"mode": "url", "message": "Sign in.", "url": "https://example.com/", "elicitationId": "7"}


def _given(shown: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": RequestId("R1"),
        "workspace": WorkspaceId("default"),
        "origin": Origin(server="files", endpoint_id=EndpointId("E1")),
        "held": HeldCallId("H1"),
        "shown": shown,
        "created_at": NOW,
        "expires_at": LATE,
    }


def elicitation(shown: dict[str, Any] | None = None) -> ElicitationRequest:
    return ElicitationRequest(**_given(FORM if shown is None else shown))


def sampling() -> SamplingRequest:
    return SamplingRequest(**_given({"messages": [], "maxTokens": 10}))


def approval() -> ToolApproval:
    return ToolApproval(**_given({"tool": "write", "arguments": {"path": "a"}}))


def samplings() -> dict[str, SamplingRequest]:
    new = sampling()
    run = replace(new.approved("owner", {}, NOW), reserved_nano_usd=7)
    look = new.approved("owner", {"review": True}, NOW).begun("L1")
    return {
        "pending": new,
        "approved": run,
        "begun": run.begun("L1"),
        "reviewed": look.answered({"model": "m"}, None, 5, NOW),
        "completed": run.begun("L1").answered({"model": "m"}, None, 5, NOW),
        **_ended(new),
        "rejected": new.rejected("owner", "no", NOW),
    }


def elicitations() -> dict[str, ElicitationRequest]:
    new = elicitation()
    return {
        "pending": new,
        "completed": new.answered("owner", Action.DECLINE, None, NOW),
        **_ended(new),
    }


def approvals() -> dict[str, ToolApproval]:
    new = approval()
    yes = new.approved("owner", {}, NOW)
    return {
        "pending": new,
        "approved": yes,
        "begun": yes.begun("L1"),
        "completed": yes.begun("L1").completed(NOW),
        **_ended(new),
        "rejected": new.denied("owner", "no", NOW),
    }


def _ended(new: R) -> dict[str, R]:
    return {"expired": new.expired(LATE), "failed": new.failed("gone", NOW)}


def held_call() -> HeldCall:
    return HeldCall(
        id=HeldCallId("H1"),
        workspace=WorkspaceId("default"),
        subject="owner",
        binding="b",
        view_group=None,
        view_server=None,
        era="modern",
        agent="agent",
        conversation="",
        deed="tools/call",
        key="write",
        params={},
        meta={},
        requests=(RequestId("R1"),),
        created_at=NOW,
        expires_at=LATE,
    )
