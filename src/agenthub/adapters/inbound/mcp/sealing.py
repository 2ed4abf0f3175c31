"""Request state in the agent's hands: sealed, bound to its request, and perishable.

Source: MCP 2026-07-28, basic/patterns/mrtr: requestState comes back as an attacker's input.
"""

import base64
import binascii
import hashlib
import json
from datetime import datetime
from typing import Any

import msgspec

from agenthub.adapters.inbound.mcp.envelope import INVALID_PARAMS
from agenthub.adapters.inbound.mcp.shapes import is_object
from agenthub.domain.exceptions import RpcError
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.mcp_client import RawObject
from agenthub.domain.ports.outbound.secrets import SealBrokenError, SecretBox
from agenthub.domain.services.catalog.views import View

Binding = tuple[str, ...]
STATE_TTL_S = 600.0
MAX_STATE_LENGTH = 1024 * 1024
FORMAT = "1."
"""Which form a state has; a later hub can tell it from its own."""
_CONTEXT = "mcp-request-state"
_OF_THE_RETRY = ("requestState", "inputResponses")


def bind(view: View, method: str, key: str, params: RawObject) -> Binding:
    """Say which request of whom a state belongs to.

    `key` is the exposed name or URI. `requestState` and `inputResponses` in `params` do not
    count, for a retry adds them; nor do spaces and the order of members.
    """
    principal = view.principal
    return (
        principal.workspace,
        principal.subject,
        json.dumps(view.cache_key()),
        method,
        key,
        _digest(params),
    )


def _digest(params: RawObject) -> str:
    """Hash params whatever their layout. Numbers count as written: 1 is not 1.0."""
    whole = {
        name: json.loads(value, parse_float=_literal, parse_int=_literal)
        for name, value in params.items()
        if name not in _OF_THE_RETRY
    }
    canonical = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _literal(number: str) -> dict[str, str]:
    return {"\0number": number}


class Sealer:
    """Seals payloads into `requestState` texts and opens them again."""

    def __init__(self, box: SecretBox, clock: Clock, *, ttl_s: float = STATE_TTL_S) -> None:
        self._box = box
        self._clock = clock
        self._ttl_s = ttl_s

    def seal(
        self, payload: dict[str, Any], binding: Binding, *, after: datetime | None = None
    ) -> str:
        """Seal `payload` (JSON values) until `ttl_s` from now, or from `after` if that is later."""
        now = self._clock.now()
        expires_at = max(now, after or now).timestamp() + self._ttl_s
        plain = msgspec.json.encode({"expires_at": expires_at, "payload": payload})
        sealed = self._box.seal(plain, context=_context(binding))
        return FORMAT + base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, state: Any, binding: Binding) -> dict[str, Any]:
        """Give the payload back. Raises RpcError -32602, with one text for whatever is wrong."""
        payload = self._opened(state, binding)
        if payload is None:
            raise RpcError(
                INVALID_PARAMS,
                "params.requestState is not valid for this request, or has expired. "
                "Send the request again without it.",
            )
        return payload

    def _opened(self, state: Any, binding: Binding) -> dict[str, Any] | None:
        if not isinstance(state, str) or not state.startswith(FORMAT):
            return None
        if len(state) > MAX_STATE_LENGTH:
            return None
        encoded = state[len(FORMAT) :]
        try:
            sealed = base64.b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True)
            plain = self._box.open(sealed, context=_context(binding))
        except (binascii.Error, ValueError, SealBrokenError):
            return None
        content = msgspec.json.decode(plain)
        if content["expires_at"] <= self._clock.now().timestamp():
            return None
        payload = content["payload"]
        return payload if is_object(payload) else None


def _context(binding: Binding) -> str:
    whole = json.dumps([_CONTEXT, FORMAT, *binding])
    return f"{_CONTEXT}:{hashlib.sha256(whole.encode()).hexdigest()}"
