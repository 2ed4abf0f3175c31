"""Questions to people that wait in a served hub, as if servers and policies had asked them."""

from datetime import timedelta
from typing import Any, TypeVar

import httpx2

from agenthub.adapters.outbound.clock.system import SystemClock
from agenthub.domain.entities.hitl.elicitation_request import ElicitationRequest
from agenthub.domain.entities.hitl.request import HitlRequest, Origin
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, GroupId
from tests.contracts.hitl_samples import held_call
from tests.integration.http.world import Served

ELICITATIONS = "/api/elicitation/requests"
SAMPLINGS = "/api/sampling/requests"
APPROVALS = "/api/approvals"

FORM: dict[str, Any] = {
    "message": "Who are you?",
    "requestedSchema": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "title": "Your name", "minLength": 2},
            "age": {"type": "integer", "minimum": 0},
            "size": {"type": "string", "enum": ["s", "m"], "enumNames": ["Small", "Medium"]},
        },
        "required": ["name"],
    },
}
LINK: dict[str, Any] = {
    "mode": "url",
    "message": "Log in.",
    "elicitationId": "e1",
    "url": "https://login.example/start?x=1",
}
WISH: dict[str, Any] = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "Say hello."}}],
    "systemPrompt": "Be short.",
    "maxTokens": 100,
    "modelPreferences": {"hints": [{"name": "gpt"}]},
}
USE: dict[str, Any] = {
    "tool": "send",
    "arguments": {"to": "anna@example.com"},
    "title": "Send a mail",
    "description": "Sends it.",
    "annotations": {"destructiveHint": True},
    "why": "mails need a person",
}

R = TypeVar("R", bound=HitlRequest)


async def put(
    hub: Served,
    kind: type[R],
    shown: dict[str, Any],
    *,
    ttl: timedelta = timedelta(minutes=5),
    origin: dict[str, Any] | None = None,
    **more: Any,
) -> str:
    """Let a question wait, with a call of its own; gives its id."""
    queue = hub.world.hub.requests
    request_id = queue.new_id()
    now = SystemClock().now()
    made = {
        "server": "demo",
        "endpoint_id": EndpointId("E-1"),
        "subject": "owner",
        "agent": "an agent",
        "conversation": "c1",
        "deed": "tools/call",
        "key": "send",
    }
    call = held_call(request_id, expires_at=now + ttl, requests=(request_id,))
    question = kind(
        id=request_id,
        workspace=DEFAULT_WORKSPACE,
        origin=Origin(**{**made, **(origin or {})}),
        held=call.id,
        shown=shown,
        created_at=now - timedelta(minutes=5),
        expires_at=now + ttl,
        **more,
    )
    await queue.ask(call, [question], None)
    return request_id


async def elicit(hub: Served, shown: dict[str, Any] | None = None, **more: Any) -> str:
    return await put(hub, ElicitationRequest, shown or FORM, **more)


async def wish(hub: Served, shown: dict[str, Any] | None = None, **more: Any) -> str:
    return await put(hub, SamplingRequest, shown or WISH, **more)


async def hold(hub: Served, shown: dict[str, Any] | None = None, **more: Any) -> str:
    return await put(hub, ToolApproval, shown or USE, **more)


async def group_of(hub: Served, slug: str) -> GroupId:
    answer = await hub.http.post("/api/groups", json={"slug": slug, "members": []})
    assert answer.status_code == 201, answer.text
    return GroupId(answer.json()["id"])


async def items(hub: Served, path: str, **params: Any) -> list[dict[str, Any]]:
    answer = await hub.http.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in found]


def told(answer: httpx2.Response) -> tuple[int, str]:
    """Give what a refusal says: status and code."""
    return answer.status_code, answer.json().get("code", "")
