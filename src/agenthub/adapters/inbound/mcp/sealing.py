"""Request state in the agent's hands: sealed, bound to its request, and perishable."""

from typing import Any

from agenthub.adapters.inbound.hub import View
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.mcp_client import RawObject
from agenthub.domain.ports.outbound.secrets import SecretBox

Binding = tuple[str, ...]
STATE_TTL_S = 600.0


def bind(view: View, method: str, key: str, params: RawObject) -> Binding:
    """Say which request of whom a state belongs to.

    `key` is the exposed name or URI. `requestState` and `inputResponses` in `params` do not
    count, for a retry adds them.
    """
    raise NotImplementedError


class Sealer:
    """Seals payloads into `requestState` texts and opens them again."""

    def __init__(self, box: SecretBox, clock: Clock, *, ttl_s: float = STATE_TTL_S) -> None:
        self._box = box
        self._clock = clock
        self._ttl_s = ttl_s

    def seal(self, payload: dict[str, Any], binding: Binding) -> str:
        """Seal `payload` (JSON values) until `ttl_s` from now."""
        raise NotImplementedError

    def open(self, state: Any, binding: Binding) -> dict[str, Any]:
        """Give the payload back. Raises RpcError -32602, with one text for whatever is wrong."""
        raise NotImplementedError
