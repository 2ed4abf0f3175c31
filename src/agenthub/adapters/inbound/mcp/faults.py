"""Errors as agents of each era get them (docs/reference/errors.md)."""

from math import ceil
from typing import Any

import msgspec

from agenthub.adapters.inbound.mcp.asking import UndeclaredError
from agenthub.adapters.inbound.mcp.envelope import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    FaultyMessageError,
)
from agenthub.adapters.inbound.mcp.frames import text
from agenthub.adapters.inbound.mcp.results import complete_result
from agenthub.adapters.inbound.mcp.versions import is_modern
from agenthub.domain.exceptions import (
    ErrorKind,
    HeldBackError,
    HubError,
    InvalidError,
    RpcError,
)

INTERNAL_ERROR = -32603
RESOURCE_NOT_FOUND = -32002
HEADER_MISMATCH = -32020
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022
SPEC_CODES = range(-32099, -32019)
"""Since 2026-07-28 (basic/index "Error Codes") only MCP gives these a meaning; before, servers."""

CODE_OF = {
    ErrorKind.INVALID: INVALID_PARAMS,
    ErrorKind.NOT_FOUND: INVALID_PARAMS,
    ErrorKind.INTERNAL: INTERNAL_ERROR,
    ErrorKind.UNAUTHENTICATED: 1401,
    ErrorKind.DENIED: 1403,
    ErrorKind.CONFLICT: 1409,
    ErrorKind.GONE: 1410,
    ErrorKind.DECLINED: 1422,
    ErrorKind.QUOTA: 1429,
    ErrorKind.UPSTREAM: 1502,
    ErrorKind.UNAVAILABLE: 1503,
    ErrorKind.TIMEOUT: 1504,
}
"""The hub's own codes lie outside the range that JSON-RPC reserves: 1000 and an HTTP status."""

FOR_MODELS = frozenset(
    {ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT, ErrorKind.UPSTREAM}
    | {ErrorKind.QUOTA, ErrorKind.DECLINED, ErrorKind.GONE}
)
"""In a tools/call these are results: the model can choose another way, the client cannot."""

_STATUS_OF = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    MISSING_CAPABILITY: 400,
    UNSUPPORTED_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}


def to_rpc_error(error: Exception, version: str) -> tuple[int, str, Any]:
    """Give (code, message, data) of the JSON-RPC error for an agent of revision `version`."""
    if isinstance(error, FaultyMessageError):
        return error.code, error.message, error.data
    if isinstance(error, RpcError):
        return _of_server(error, version)
    if not isinstance(error, HubError) or error.kind is ErrorKind.INTERNAL:
        return INTERNAL_ERROR, "Internal error of the hub; its log says more.", None
    if isinstance(error, UndeclaredError) and is_modern(version):
        data = {**_data(error), "requiredCapabilities": error.required}
        return MISSING_CAPABILITY, error.message, data
    code = CODE_OF[error.kind]
    if error.code == "resource_not_found" and not is_modern(version):
        code = RESOURCE_NOT_FOUND
    return code, error.message, _data(error)


def _of_server(error: RpcError, version: str) -> tuple[int, str, Any]:
    """Hand on a server's error unchanged, unless its code would mislead this agent.

    For an agent of 2026-07-28 such are those about the hub's own hop to the server, and those
    that its revision gives another meaning or none.
    """
    code = error.code
    if not is_modern(version):
        return code, error.message, error.data
    if code == RESOURCE_NOT_FOUND:
        return INVALID_PARAMS, error.message, error.data
    if code in SPEC_CODES and code != MISSING_CAPABILITY:
        data = {"code": "server_refused", "serverCode": code, "serverData": error.data}
        return CODE_OF[ErrorKind.UPSTREAM], f"The server refused: {error.message}", data
    return code, error.message, error.data


def to_tool_result(error: Exception, version: str) -> bytes | None:
    """Give the whole `isError` result of a tools/call, None where an RPC error must be sent."""
    if not isinstance(error, HubError) or error.kind not in FOR_MODELS:
        return None
    if isinstance(error, UndeclaredError) and is_modern(version):
        return None
    words = f"{error.message}{_when(error)}"
    content = b'[{"type":"text","text":%b}]' % text(words)
    meta = b'{"agenthub/error":%b}' % msgspec.json.encode(_data(error))
    return complete_result({"content": content, "isError": b"true", "_meta": meta}, version)


def error_body(raw_id: bytes, error: tuple[int, str, Any], version: str) -> bytes:
    """Frame a JSON-RPC error response. Modern agents get no `null` id: MCP forbids it."""
    code, message, data = error
    body: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    encoded = msgspec.json.encode(body)
    if raw_id == b"null" and is_modern(version):
        return b'{"jsonrpc":"2.0","error":%b}' % encoded
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (raw_id, encoded)


def http_status(code: int) -> int:
    """Give the HTTP status that goes with an error to a modern agent, while none was sent yet."""
    return _STATUS_OF.get(code, 200)


def _data(error: HubError) -> dict[str, Any]:
    """Say what a program needs: the stable code, and what else the error knows."""
    data: dict[str, Any] = {"code": error.code}
    if error.retry_after_s is not None:
        data["retryAfterS"] = error.retry_after_s
    if isinstance(error, InvalidError) and error.faults:
        data["errors"] = [{"loc": list(f.loc), "message": f.message} for f in error.faults]
    return data


_NEXT = {
    ErrorKind.UNAVAILABLE: " The server cannot be reached now; try later, or use another tool.",
    ErrorKind.TIMEOUT: " It may still be at work; check before you call again.",
    ErrorKind.UPSTREAM: " Calling again will hardly help; tell the user or use another tool.",
    ErrorKind.QUOTA: " Wait before you call again.",
    ErrorKind.DECLINED: " Go on without this, or ask the user.",
    ErrorKind.GONE: " Call again from the start.",
}
_NEXT_AFTER = {
    "call_interrupted": " Check what was done before you call again.",
    "question_lost": "",
}
"""What the hub's own restart did to a call: the server may be there, and its deed done."""


def _when(error: HubError) -> str:
    """Name the next step."""
    if error.retry_after_s is not None:
        return f" Try again in {_wait(ceil(error.retry_after_s))} or later."
    if isinstance(error, HeldBackError):
        return " Waiting does not help until an operator resets it; use another tool, or tell them."
    return _NEXT_AFTER.get(error.code, _NEXT[error.kind])


def _wait(seconds: int) -> str:
    """Write a wait for a reader; `retryAfterS` has it exactly."""
    if seconds < 2 * 60:
        return f"{seconds} s"
    for unit, each_s, most_s in (("minutes", 60, 2 * 3_600), ("hours", 3_600, 2 * 86_400)):
        if seconds < most_s:
            return f"about {round(seconds / each_s)} {unit}"
    return f"about {round(seconds / 86_400)} days"
