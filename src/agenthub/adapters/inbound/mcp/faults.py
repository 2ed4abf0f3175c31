"""Errors as agents of each era get them (docs/reference/errors.md)."""

from typing import Any


def to_rpc_error(error: Exception, version: str) -> tuple[int, str, Any]:
    """Give (code, message, data) of the JSON-RPC error for an agent of revision `version`.

    An error of a server passes unchanged, unless its code would mislead this agent.
    """
    raise NotImplementedError


def to_tool_result(error: Exception, version: str) -> bytes | None:
    """Give the whole `isError` result of a tools/call, None where an RPC error must be sent.

    A model reads it, so it says what to do next.
    """
    raise NotImplementedError


def error_body(raw_id: bytes, error: tuple[int, str, Any], version: str) -> bytes:
    """Frame a JSON-RPC error response."""
    raise NotImplementedError


def http_status(code: int) -> int:
    """Give the HTTP status that goes with an error to a modern agent, while none was sent yet."""
    raise NotImplementedError
