"""JSON-RPC messages to agents, put together from JSON that is already there."""

import json
from functools import lru_cache

from agenthub.domain.ports.outbound.mcp_client import RawObject

MAX_REMEMBERED = 64
"""Characters. Names come from strangers; longer ones are encoded anew each time."""


def notification(method: str, params: RawObject) -> bytes:
    return b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (_name(method), members(params))


def request(request_id: bytes, method: str, params: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}' % (
        request_id,
        _name(method),
        params or b"{}",
    )


def members(parts: RawObject) -> bytes:
    """Join members into a JSON object."""
    return b"{" + b",".join([_name(name) + b":" + value for name, value in parts.items()]) + b"}"


def text(value: str) -> bytes:
    """Encode a string as JSON."""
    return json.dumps(value).encode()


def remembered_names() -> int:
    """Say how many names are kept encoded."""
    return _short.cache_info().currsize


def _name(value: str) -> bytes:
    return _short(value) if len(value) <= MAX_REMEMBERED else text(value)


@lru_cache(maxsize=1024)
def _short(value: str) -> bytes:
    return text(value)


def response(request_id: bytes, result: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (request_id, result)
