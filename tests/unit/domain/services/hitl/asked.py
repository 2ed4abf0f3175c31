"""Questions to people and the calls that wait for them, as tests need them."""

from datetime import timedelta
from typing import Any

from agenthub.domain.entities.hitl.elicitation_request import ElicitationRequest
from agenthub.domain.entities.hitl.held_call import HeldCall
from agenthub.domain.entities.hitl.request import Origin
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.entities.identity import Principal, Scope
from agenthub.domain.ids import (
    DEFAULT_WORKSPACE,
    EndpointId,
    GroupId,
    HeldCallId,
    RequestId,
)
from tests.fakes.clock import NEW_YEAR

TTL = timedelta(minutes=10)
PERSON = Principal(DEFAULT_WORKSPACE, "KEY-OF-ANNA", frozenset({Scope.HITL_ANSWER}))
AGENT_KEY = "KEY-OF-AGENT"


def origin(**changes: Any) -> Origin:
    facts: dict[str, Any] = {
        "server": "mail",
        "endpoint_id": EndpointId("E1"),
        "subject": AGENT_KEY,
        "group": GroupId("G1"),
        "conversation": "C1",
        "deed": "tools/call",
        "key": "send",
    }
    return Origin(**{**facts, **changes})


def question(name: str = "R1", held: str = "H1", **changes: Any) -> ElicitationRequest:
    return ElicitationRequest(**_facts(name, held, {"message": "Sure?"}, changes))


def approval(name: str = "R1", held: str = "H1", **changes: Any) -> ToolApproval:
    shown = {"tool": "send", "arguments": {"to": "ann@example.com", "count": 1}}
    return ToolApproval(**_facts(name, held, shown, changes))


def held_call(name: str = "H1", *requests: str, **changes: Any) -> HeldCall:
    facts: dict[str, Any] = {
        "id": HeldCallId(name),
        "workspace": DEFAULT_WORKSPACE,
        "subject": AGENT_KEY,
        "binding": f"binding of {name}",
        "view_group": None,
        "view_server": None,
        "era": "legacy",
        "agent": "tester",
        "conversation": "C1",
        "deed": "tools/call",
        "key": "mail__send",
        "params": {},
        "meta": {},
        "requests": tuple(RequestId(each) for each in requests or ("R1",)),
        "created_at": NEW_YEAR,
        "expires_at": NEW_YEAR + TTL,
    }
    return HeldCall(**{**facts, **changes})


def _facts(name: str, held: str, shown: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": RequestId(name),
        "workspace": DEFAULT_WORKSPACE,
        "origin": origin(),
        "held": HeldCallId(held),
        "shown": shown,
        "created_at": NEW_YEAR,
        "expires_at": NEW_YEAR + TTL,
        **changes,
    }
