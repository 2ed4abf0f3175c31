"""Servers' questions for input: let in when a person can answer them, and answered once."""

import json
from datetime import datetime
from typing import Any, cast

from agenthub.domain.entities.hitl.elicitation_request import Action, ElicitationRequest
from agenthub.domain.entities.hitl.form import parse_form
from agenthub.domain.entities.hitl.link import check_link
from agenthub.domain.entities.hitl.nesting import require_shallow
from agenthub.domain.entities.hitl.request import Origin
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import InvalidError, RpcError
from agenthub.domain.ids import HeldCallId, RequestId, WorkspaceId
from agenthub.domain.ports.outbound.mcp_client import Question
from agenthub.domain.services.hitl.queue import HitlQueue

MAX_QUESTION_BYTES = 256 * 1024
"""Of one question's params; a thousand of them may wait at once."""
_INVALID_PARAMS = -32602


class ElicitationDesk:
    """Takes in `elicitation/create` of servers, and the answers of people."""

    def __init__(self, *, queue: HitlQueue) -> None:
        self._queue = queue

    def make(
        self,
        *,
        workspace: WorkspaceId,
        origin: Origin,
        held: HeldCallId,
        key: str,
        question: Question,
        request_id: RequestId,
        now: datetime,
        expires_at: datetime,
    ) -> ElicitationRequest:
        """Make a question of a server's. Raises RpcError, for the server, when it may not ask so.

        Refused are a form beyond MCP's restricted schema, and a link that nobody should open.
        """
        return ElicitationRequest(
            id=request_id,
            workspace=workspace,
            origin=origin,
            held=held,
            key=key,
            shown=_allowed(question.params),
            created_at=now,
            expires_at=expires_at,
        )

    async def respond(
        self,
        principal: Principal,
        request_id: str,
        action: Action,
        content: dict[str, Any] | None = None,
    ) -> ElicitationRequest:
        """Answer for good. `content` counts for an accepted form only, where None is empty.

        Raises InvalidError with the fields at fault (the question stays open), NotFoundError,
        DeniedError, ConflictError, GoneError.
        """

        def move(request: ElicitationRequest, now: datetime) -> ElicitationRequest:
            moved = request.answered(principal.subject, action, content, now)
            if action is Action.ACCEPT and not request.is_url:
                _require_fit(request, content or {})
            return moved

        return await self._queue.decide(principal, ElicitationRequest, request_id, move)


def _require_fit(request: ElicitationRequest, content: dict[str, Any]) -> None:
    faults = request.form().check(content)
    if faults:
        raise InvalidError(
            "The answer does not fit the form; mend it and send it again.", faults=faults
        )


def _allowed(text: bytes) -> dict[str, Any]:
    if len(text) > MAX_QUESTION_BYTES:
        raise _refused(f"the question is larger than {MAX_QUESTION_BYTES:,} bytes")
    try:
        params = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused("the params are no JSON") from error
    if not isinstance(params, dict):
        raise _refused("the params are no object")
    shown = cast(dict[str, Any], params)
    if not isinstance(shown.get("message"), str):
        raise _refused("message: must be text")
    try:
        require_shallow(shown, "params")
        _require_answerable(shown)
    except InvalidError as error:
        raise _refused(error.message) from error
    return shown


def _require_answerable(shown: dict[str, Any]) -> None:
    match shown.get("mode", "form"):
        case "form":
            parse_form(shown.get("requestedSchema"))
        case "url":
            if not isinstance(shown.get("url"), str):
                raise InvalidError.at("url", message="must be text")
            check_link(shown["url"])
        case _:
            raise InvalidError.at("mode", message="must be 'form' or 'url'")


def _refused(why: str) -> RpcError:
    return RpcError(_INVALID_PARAMS, f"The hub puts no such question to a person: {why}.")
