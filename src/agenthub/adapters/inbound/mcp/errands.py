"""From an agent's request to an errand of the hub."""

from typing import Any

from agenthub.adapters.inbound.mcp.envelope import INVALID_PARAMS, Request
from agenthub.adapters.inbound.mcp.shapes import is_object
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.identity import Principal, Scope
from agenthub.domain.exceptions import RpcError
from agenthub.domain.services.calls import Deed, Errand

DEEDS = {deed.value: deed for deed in Deed}
LISTS = {
    "tools/list": ItemKind.TOOLS,
    "prompts/list": ItemKind.PROMPTS,
    "resources/list": ItemKind.RESOURCES,
    "resources/templates/list": ItemKind.TEMPLATES,
}
MAY_ASK = frozenset({Deed.CALL_TOOL, Deed.GET_PROMPT, Deed.READ_RESOURCE})
"""The requests that MCP 2026-07-28 lets answer with a request for input."""

_SCOPE_OF = {
    ItemKind.TOOLS: Scope.TOOLS_CALL,
    ItemKind.PROMPTS: Scope.PROMPTS_GET,
    ItemKind.RESOURCES: Scope.RESOURCES_READ,
    ItemKind.TEMPLATES: Scope.RESOURCES_READ,
}
_REF_KINDS = {"ref/prompt": ItemKind.PROMPTS, "ref/resource": ItemKind.TEMPLATES}


def may_list(principal: Principal, kind: ItemKind) -> bool:
    """Say whether a list is shown: to whoever may use what is in it, or may read the hub."""
    return principal.allows(_SCOPE_OF[kind]) or principal.allows(Scope.HUB_READ)


def require_listable(principal: Principal, kind: ItemKind) -> None:
    """Raise DeniedError unless the principal may see this list."""
    if not may_list(principal, kind):
        principal.require(_SCOPE_OF[kind])


def errand_of(deed: Deed, message: Request) -> Errand:
    """Build the errand of a request. Raises RpcError -32602 for what MCP forbids."""
    if message.values.get("arguments") is not None:
        object_param(message, "arguments")
    match deed:
        case Deed.CALL_TOOL | Deed.GET_PROMPT:
            return Errand(deed, text_param(message, "name"), message.params, message.meta.own)
        case Deed.READ_RESOURCE:
            return Errand(deed, text_param(message, "uri"), message.params, message.meta.own)
        case Deed.COMPLETE:
            return _completion(message)


def text_param(message: Request, name: str) -> str:
    """Read a param that must be a string. Raises RpcError -32602."""
    value = message.values.get(name)
    if not isinstance(value, str) or not value:
        raise RpcError(INVALID_PARAMS, f"params.{name} must be a string that is not empty.")
    return value


def object_param(message: Request, name: str) -> dict[str, Any]:
    """Read a param that must be an object. Raises RpcError -32602."""
    value = message.values.get(name)
    if not is_object(value):
        raise RpcError(INVALID_PARAMS, f"params.{name} must be an object.")
    return value


def _completion(message: Request) -> Errand:
    ref = object_param(message, "ref")
    object_param(message, "argument")
    kind = _REF_KINDS.get(str(ref.get("type")))
    if kind is None:
        raise RpcError(INVALID_PARAMS, "params.ref.type must be ref/prompt or ref/resource.")
    member = "name" if kind is ItemKind.PROMPTS else "uri"
    key: Any = ref.get(member)
    if not isinstance(key, str) or not key:
        raise RpcError(INVALID_PARAMS, f"params.ref.{member} must be a string that is not empty.")
    return Errand(Deed.COMPLETE, key, message.params, message.meta.own, kind)
