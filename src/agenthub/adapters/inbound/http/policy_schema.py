"""Policies as REST clients write and read them, described by the domain's own rules.

The domain reads the bodies, so that REST, file and command line know the same fields, bounds and
words; OpenAPI gets them from there as well.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import GetJsonSchemaHandler, JsonValue, RootModel
from pydantic_core import CoreSchema

from agenthub.domain.entities.resilience.checks import Rule, Within, rules_of
from agenthub.domain.entities.resilience.layers import FOREIGN, NONE, Level
from agenthub.domain.entities.resilience.policy import GatewayPolicy, Part

Schema = dict[str, JsonValue]

LAYER = """A sparse policy: what is left out holds as below (the server's, the hub's, the file's).

In a PATCH null removes a field (RFC 7396), "none" takes a limit, price or fallback away. A rate
limit needs no `burst`: it is a second's worth. `price_usd` is a decimal text."""
PRICE: Schema = {"type": "string", "pattern": r"^[0-9]{1,7}(\.[0-9]{1,9})?$"}
_KINDS: dict[type[Any], str] = {bool: "boolean", int: "integer", float: "number", str: "string"}


class PolicyLayer(RootModel[dict[str, Any]]):
    """Some fields of a policy. PolicyService checks them and names those at fault."""

    level: ClassVar[Level] = Level.SERVER

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Any:
        described = layer_schema(GatewayPolicy, without=FOREIGN[cls.level])
        return {"title": cls.__name__, "description": LAYER, **described}


class HubPolicyLayer(PolicyLayer):
    """Some fields of the hub's policy."""

    level = Level.HUB


class ToolPolicyLayer(PolicyLayer):
    """Some fields of a tool's policy."""

    level = Level.TOOL


class Policy(RootModel[dict[str, Any]]):
    """A whole policy; null is no limit, no price, no fallback, or what the hub thinks right."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Any:
        return {"title": cls.__name__, "description": cls.__doc__, **whole_schema(GatewayPolicy)}


def layer_schema(part: type[Any], without: frozenset[str] = frozenset()) -> Schema:
    """Describe a sparse part: nothing is required, every field may be null."""
    fields: Schema = {}
    rules = {name: rule for name, rule in rules_of(part).items() if name not in without}
    for name, rule in rules.items():
        none: list[JsonValue] = [{"const": NONE}] if rule.nullable else []
        fields[name] = {"anyOf": [_value(rule, layer_schema), *none, {"type": "null"}]}
    if part is GatewayPolicy:
        fields["price_usd"] = {"anyOf": [PRICE, {"const": NONE}, {"type": "null"}]}
    return {"type": "object", "properties": fields, "additionalProperties": False}


def whole_schema(part: type[Any]) -> Schema:
    """Describe a part as it is shown: everything is there."""
    fields: Schema = {}
    for name, rule in rules_of(part).items():
        value = _value(rule, whole_schema)
        fields[name] = {"anyOf": [value, {"type": "null"}]} if rule.nullable else value
    if part is GatewayPolicy:
        fields["price_usd"] = {"anyOf": [PRICE, {"type": "null"}]}
    required: list[JsonValue] = [*fields]
    return {
        "type": "object",
        "properties": fields,
        "required": required,
        "additionalProperties": False,
    }


def _value(rule: Rule, inner: Callable[[type[Any]], Schema]) -> Schema:
    if issubclass(rule.kind, Part):
        return inner(rule.kind)
    if issubclass(rule.kind, StrEnum):
        words: list[JsonValue] = [str(word) for word in rule.kind]
        return {"type": "string", "enum": words}
    return {"type": _KINDS[rule.kind], **_bounds(rule.kind, rule.range)}


def _bounds(kind: type[Any], allowed: Within | None) -> Schema:
    if allowed is None:
        return {}
    if kind is str:
        return {"minLength": int(allowed.least), "maxLength": int(allowed.most)}
    low = "exclusiveMinimum" if allowed.above else "minimum"
    return {low: allowed.least, "maximum": allowed.most}
