"""A form a server asks a person to fill in: MCP's restricted schema, and what fits it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from math import isfinite
from typing import Any, cast

from agenthub.domain.entities.hitl.fields import Choice, Field, FieldKind, asks_for_secret
from agenthub.domain.entities.hitl.formats import FORMATS
from agenthub.domain.exceptions import FieldFault, InvalidError

MAX_FIELDS = 100
MAX_CHOICES = 1_000
MAX_NAME_LENGTH = 256

_NESTING = frozenset(
    [
        "$ref",
        "$dynamicRef",
        "$recursiveRef",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "properties",
        "patternProperties",
        "additionalProperties",
        "propertyNames",
        "unevaluatedProperties",
        "items",
        "prefixItems",
        "additionalItems",
        "unevaluatedItems",
        "contains",
        "dependentSchemas",
        "dependencies",
    ]
)
"""Keywords that lead to other schemas: beyond the one level that MCP allows."""
_UNCHECKED = frozenset(
    [
        "pattern",
        "const",
        "enum",
        "multipleOf",
        "minProperties",
        "maxProperties",
        "dependentRequired",
    ]
)
"""Rules that JSON Schema knows and MCP's restricted set does not: the server may insist on them.

A foreign pattern is never run: it can be made to take hours.
"""
_WITH_SECRETS = frozenset({FieldKind.TEXT, FieldKind.INTEGER, FieldKind.NUMBER})


@dataclass(frozen=True, slots=True)
class Form:
    """What may be filled in. Source: MCP 2026-07-28, ElicitRequestFormParams.requestedSchema.

    `additionalProperties: false`, exclusive bounds and `uniqueItems` are heeded too: the SDKs of
    servers write them.
    """

    fields: tuple[Field, ...]
    required: frozenset[str] = frozenset()
    """Names that must be there; of members without a field too."""
    is_closed: bool = False
    """Other members than the fields are refused."""
    warnings: tuple[str, ...] = ()
    """What a person should know before answering."""

    def check(self, content: Any) -> tuple[FieldFault, ...]:
        """Say what is wrong with an answer: nothing exactly where JSON Schema 2020-12 says so."""
        if not isinstance(content, dict):
            return (FieldFault(("content",), "must be an object"),)
        given = cast(dict[str, Any], content)
        known = {field.name: field for field in self.fields}
        faults = [
            FieldFault(("content", name), "is required")
            for name in sorted(self.required - given.keys())
        ]
        for name, value in given.items():
            if name in known:
                faults += known[name].faults(value)
            elif self.is_closed:
                faults.append(FieldFault(("content", name), "is not asked for"))
        return tuple(faults)


def parse_form(schema: Any) -> Form:
    """Read a requested schema.

    Keywords that JSON Schema does not know are passed over; rules beyond the restricted set are
    warned of. Raises InvalidError `form_refused` for nesting, references, unknown types and sizes
    that nobody can fill in.
    """
    root = _object(schema, "requestedSchema")
    if root.get("type") != "object":
        raise _refused("requestedSchema", "its type must be 'object'")
    _no_nesting(root, "requestedSchema", "properties", "additionalProperties")
    properties = _object(root.get("properties", {}), "properties")
    if len(properties) > MAX_FIELDS:
        raise _refused("properties", f"has more than {MAX_FIELDS} fields")
    required = frozenset(_texts(root.get("required", []), "required"))
    fields = tuple(
        _field(name, _object(rules, name), name in required) for name, rules in properties.items()
    )
    closed = root.get("additionalProperties", True) is False
    return Form(fields, required, closed, (*_form_warnings(root, fields, required),))


def _form_warnings(
    root: Mapping[str, Any], fields: tuple[Field, ...], required: frozenset[str]
) -> list[str]:
    unchecked = sorted(_UNCHECKED & root.keys())
    if not isinstance(root.get("additionalProperties", True), bool):
        unchecked.append("additionalProperties")
    known = {field.name for field in fields}
    return [
        *(f"A rule of this form is not checked here: {word}." for word in unchecked),
        *(f"The server requires {_quoted(n)}, which is not on its form." for n in required - known),
        *(warning for field in fields for warning in field.warnings),
    ]


def _field(name: str, rules: Mapping[str, Any], required: bool) -> Field:
    if len(name) > MAX_NAME_LENGTH:
        raise _refused("properties", f"has a name of more than {MAX_NAME_LENGTH} characters")
    bare = replace(
        _bare_field(name, rules),
        title=_label(rules, "title"),
        description=_label(rules, "description"),
        required=required,
    )
    default = rules.get("default")
    fits = default is None or not bare.faults(default)
    return replace(
        bare,
        default=default if fits else None,
        warnings=(*_field_warnings(bare, rules), *(() if fits else (_unfit_default(name),))),
    )


def _bare_field(name: str, rules: Mapping[str, Any]) -> Field:
    match rules.get("type"):
        case "string":
            _no_nesting(rules, name, "oneOf")
            return _text_field(name, rules, "oneOf")
        case "integer" | "number" as word:
            _no_nesting(rules, name)
            return Field(
                name=name,
                kind=FieldKind(word),
                minimum=_number(rules, name, "minimum"),
                maximum=_number(rules, name, "maximum"),
                more_than=_number(rules, name, "exclusiveMinimum"),
                less_than=_number(rules, name, "exclusiveMaximum"),
            )
        case "boolean":
            _no_nesting(rules, name)
            return Field(name=name, kind=FieldKind.BOOLEAN)
        case "array":
            _no_nesting(rules, name, "items")
            return _choices_field(name, rules)
        case other:
            raise _refused(name, f"its type {str(other)[:40]!r} is none of a form")


def _text_field(name: str, rules: Mapping[str, Any], titled: str) -> Field:
    """`titled` is the keyword with constants and titles: `oneOf`, or `anyOf` in a list."""
    choices = _choices(name, rules, titled)
    asserted = rules.get("format")
    return Field(
        name=name,
        kind=FieldKind.CHOICE if choices else FieldKind.TEXT,
        choices=choices,
        format=asserted if isinstance(asserted, str) and asserted in FORMATS else "",
        min_length=_count(rules, name, "minLength") or 0,
        max_length=_count(rules, name, "maxLength"),
    )


def _choices_field(name: str, rules: Mapping[str, Any]) -> Field:
    items = _object(rules.get("items"), f"{name}.items")
    _no_nesting(items, f"{name}.items", "anyOf")
    if items.get("type", "string") != "string":
        raise _refused(f"{name}.items", "its type must be 'string'")
    item = _text_field(name, items, "anyOf")
    if not item.choices:
        raise _refused(f"{name}.items", "has neither 'enum' nor 'anyOf'")
    return replace(
        item,
        kind=FieldKind.CHOICES,
        min_items=_count(rules, name, "minItems") or 0,
        max_items=_count(rules, name, "maxItems"),
        is_distinct=rules.get("uniqueItems") is True,
    )


def _choices(name: str, rules: Mapping[str, Any], titled: str) -> tuple[Choice, ...]:
    if "enum" not in rules and titled not in rules:
        return ()
    choices = _titled(name, rules, titled) if titled in rules else _named(name, rules)
    if titled in rules and "enum" in rules:
        both = set(_texts(rules["enum"], f"{name}.enum"))
        choices = [choice for choice in choices if choice.value in both]
    if not choices:
        raise _refused(name, "offers nothing to choose")
    first: dict[str, Choice] = {}
    for choice in choices:
        first.setdefault(choice.value, choice)
    return tuple(first.values())


def _titled(name: str, rules: Mapping[str, Any], word: str) -> list[Choice]:
    entries = _list(rules[word], f"{name}.{word}")
    choices: list[Choice] = []
    for entry in entries:
        option = _object(entry, f"{name}.{word}")
        value = option.get("const")
        if not isinstance(value, str) or option.get("type", "string") != "string":
            raise _refused(f"{name}.{word}", "must have text constants")
        _no_nesting(option, f"{name}.{word}")
        choices.append(Choice(value, _label(option, "title") or value))
    if word == "anyOf":
        return choices
    # What fits two of `oneOf` fits none (JSON Schema core, 10.2.1.3).
    times = Counter(choice.value for choice in choices)
    return [choice for choice in choices if times[choice.value] == 1]


def _named(name: str, rules: Mapping[str, Any]) -> list[Choice]:
    """`enum`, with the `enumNames` of former revisions."""
    values = _texts(rules["enum"], f"{name}.enum")
    given = rules.get("enumNames")
    names = cast(list[Any], given)[: len(values)] if isinstance(given, list) else []
    pairs = zip_longest(values, names)
    return [Choice(v, n if isinstance(n, str) and n else v) for v, n in pairs]


def _field_warnings(field: Field, rules: Mapping[str, Any]) -> list[str]:
    name = _quoted(field.name)
    warnings = [f"A rule of {name} is not checked here: {word}." for word in _passed_over(rules)]
    texts = (field.name, field.title, field.description)
    if field.kind in _WITH_SECRETS and any(map(asks_for_secret, texts)):
        warnings.append(f"{name} seems to ask for a secret; never give one in a form.")
    return warnings


def _passed_over(rules: Mapping[str, Any]) -> list[str]:
    words = set(_UNCHECKED & rules.keys())
    if rules.get("type") == "string":
        words.discard("enum")
    items = rules.get("items")
    if isinstance(items, dict):
        inner = cast(dict[str, Any], items)
        words |= (_UNCHECKED & inner.keys()) - {"enum"}
        words |= _foreign_format(inner)
    return sorted(words | _foreign_format(rules))


def _foreign_format(rules: Mapping[str, Any]) -> set[str]:
    word = rules.get("format")
    if not isinstance(word, str) or word in FORMATS:
        return set()
    return {f"format {_quoted(word)}"}


def _unfit_default(name: str) -> str:
    return f"What the server proposes for {_quoted(name)} breaks its own rules."


def _no_nesting(rules: Mapping[str, Any], where: str, *allowed: str) -> None:
    found = sorted((_NESTING & rules.keys()) - set(allowed))
    if found:
        raise _refused(where, f"{found[0]!r} is not allowed: a form has one level")


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refused(where, "must be an object")
    return cast(dict[str, Any], value)


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _refused(where, "must be a list")
    values = cast(list[Any], value)
    if len(values) > MAX_CHOICES:
        raise _refused(where, f"has more than {MAX_CHOICES} entries")
    return values


def _texts(value: Any, where: str) -> list[str]:
    values = _list(value, where)
    if not all(isinstance(entry, str) for entry in values):
        raise _refused(where, "must be a list of texts")
    return cast(list[str], values)


def _count(rules: Mapping[str, Any], name: str, word: str) -> int | None:
    value = _number(rules, name, word)
    if value is None:
        return None
    if value < 0 or value != int(value):
        raise _refused(f"{name}.{word}", "must be a whole number, not below 0")
    return int(value)


def _number(rules: Mapping[str, Any], name: str, word: str) -> int | float | None:
    value = rules.get(word)
    if value is None and word not in rules:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (isinstance(value, float) and not isfinite(value)):
        raise _refused(f"{name}.{word}", "must be a number")
    return value


def _label(rules: Mapping[str, Any], word: str) -> str:
    value = rules.get(word)
    return value if isinstance(value, str) else ""


def _quoted(name: str) -> str:
    """A server's word within a sentence of the hub's: short, and without signs that act."""
    return "'" + "".join(sign if sign.isprintable() else "?" for sign in name[:60]) + "'"


def _refused(where: str, message: str) -> InvalidError:
    return InvalidError.at(where, message=message, code="form_refused")
