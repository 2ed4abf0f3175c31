"""One POST body of an agent: a strict JSON-RPC message, its values untouched."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from agenthub.domain.exceptions import RpcError
from agenthub.domain.ports.outbound.mcp_client import RawObject

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
HEADER_MISMATCH = -32020


class FaultyMessageError(RpcError):
    """A message that cannot be carried out. `status` is HTTP's, `raw_id` the id to answer to."""

    def __init__(
        self,
        code: int,
        message: str,
        data: Any = None,
        *,
        status: int = 400,
        raw_id: bytes = b"null",
    ) -> None:
        super().__init__(code, message, data)
        self.status = status
        self.raw_id = raw_id


class MessageKind(StrEnum):
    REQUEST = "request"
    NOTIFICATION = "notification"
    RESPONSE = "response"


class Meta(msgspec.Struct, frozen=True):
    """The `_meta` of a request: what this hop of the protocol says, and `own`, all the rest.

    Values are as the agent sent them, of any JSON type; None where absent.
    """

    protocol_version: Any = None
    client_info: Any = None
    capabilities: Any = None
    log_level: Any = None
    progress_token: bytes | None = None
    own: RawObject = {}


class Message(msgspec.Struct, frozen=True):
    """One message. `params` (JSON text) and `values` (parsed) are without `_meta`.

    `raw_id` is the id as the agent wrote it. A response has `result` (JSON text) or `error`.
    """

    kind: MessageKind
    method: str = ""
    id: str | int | None = None
    raw_id: bytes = b"null"
    params: RawObject = {}
    values: Mapping[str, Any] = {}
    meta: Meta = Meta()
    result: bytes | None = None
    error: RpcError | None = None


def parse(body: bytes) -> Message:
    """Read one message. Raises FaultyMessageError, never anything else."""
    raise NotImplementedError


def check_modern_meta(message: Message) -> str:
    """Give the revision of a modern request. Raises FaultyMessageError: -32602 for a missing or
    mistyped required `_meta` member, -32022 for a revision the hub does not speak. HTTP 400.
    """
    raise NotImplementedError


def check_modern_headers(
    headers: Iterable[tuple[bytes, bytes]],
    message: Message,
    tool_definition: Mapping[str, Any] | None = None,
) -> None:
    """Compare the headers (ASGI form, lower-case names) with the body they mirror.

    `tool_definition` is that of the exposed tool in a tools/call, for `Mcp-Param-*`; Mcp-Name
    is the exposed name or URI. Raises FaultyMessageError -32020, HTTP 400.
    Source: MCP 2026-07-28, basic/transports/streamable-http, "Server Validation".
    """
    raise NotImplementedError


def is_modern_request(headers: Iterable[tuple[bytes, bytes]], message: Message) -> bool:
    """Say whether a POST speaks 2026-07-28 or later: its `_meta` or its version header says so."""
    raise NotImplementedError
