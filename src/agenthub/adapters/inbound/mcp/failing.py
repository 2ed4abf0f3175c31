"""The answer to a request that failed, for either era."""

import logging
from dataclasses import dataclass

from agenthub.adapters.inbound.mcp.envelope import FaultyMessageError, Request
from agenthub.adapters.inbound.mcp.faults import (
    error_body,
    http_status,
    to_rpc_error,
    to_tool_result,
)
from agenthub.adapters.inbound.mcp.frames import response
from agenthub.domain.exceptions import DeniedError, HubError, RpcError
from agenthub.domain.services.calls import Deed

FORBIDDEN = 403

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request: a body and its HTTP status."""

    body: bytes
    status: int


def fault(message: Request, error: Exception, version: str) -> Reply:
    """Make a tool result that says what failed, or a JSON-RPC error."""
    if not isinstance(error, HubError | RpcError):
        logger.error("an MCP request failed in the hub itself", exc_info=error)
    if message.method == Deed.CALL_TOOL.value and not isinstance(error, FaultyMessageError):
        result = to_tool_result(error, version)
        if result is not None:
            return Reply(response(message.id, result), 200)
    facts = to_rpc_error(error, version)
    return Reply(error_body(message.id, facts, version), _status(error, facts[0]))


def for_legacy(answer: Reply) -> Reply:
    """Legacy agents read errors of a request from a 200; only the missing scope is HTTP's."""
    return answer if answer.status == FORBIDDEN else Reply(answer.body, 200)


def _status(error: Exception, code: int) -> int:
    match error:
        case FaultyMessageError():
            return error.status
        case DeniedError():
            return FORBIDDEN
        case _:
            return http_status(code)
