"""JSON-RPC messages to agents, put together from JSON that is already there."""

import json
from functools import lru_cache

from agenthub.domain.ports.outbound.mcp_client import RawObject


def notification(method: str, params: RawObject) -> bytes:
    return b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (_text(method), members(params))


def request(request_id: bytes, method: str, params: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}' % (
        request_id,
        _text(method),
        params or b"{}",
    )


def members(parts: RawObject) -> bytes:
    """Join members into a JSON object."""
    return b"{" + b",".join([_key(name) + value for name, value in parts.items()]) + b"}"


def text(value: str) -> bytes:
    """Encode a string as JSON."""
    return json.dumps(value).encode()


@lru_cache(maxsize=1024)
def _text(value: str) -> bytes:
    return text(value)


@lru_cache(maxsize=1024)
def _key(name: str) -> bytes:
    return text(name) + b":"


def response(request_id: bytes, result: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (request_id, result)
