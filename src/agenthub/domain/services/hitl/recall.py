"""A server that has forgotten what it asked: a program's state may have died with the hub."""

import json
from collections.abc import Sequence

from agenthub.domain.entities.hitl.request import HitlRequest
from agenthub.domain.exceptions import RpcError
from agenthub.domain.ports.outbound.mcp_client import InputRequired, RawObject
from agenthub.domain.services.hitl.callers import retry_with

INVALID_PARAMS = -32602


def has_forgotten(error: RpcError) -> bool:
    """Say whether a server refuses its own state, so that it certainly did nothing.

    SDKs seal the state with a key of the process, unless the server's author gives one.
    """
    return error.code == INVALID_PARAMS and "requeststate" in error.message.lower()


def recalled(answered: Sequence[HitlRequest], needed: InputRequired) -> RawObject | None:
    """Give the retry's params where people have answered just these questions, else None."""
    by_key: dict[str, bytes] = {}
    for key, question in needed.requests.items():
        asked = json.loads(question.params)
        for request in answered:
            if request.shown == asked and request.result is not None:
                by_key[key] = json.dumps(request.result).encode()
    return retry_with(by_key, needed.state) if by_key.keys() == needed.requests.keys() else None
