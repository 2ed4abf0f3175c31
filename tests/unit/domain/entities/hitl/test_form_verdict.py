"""A form's verdict is JSON Schema's, shown with generated forms and answers."""

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from agenthub.domain.entities.hitl.form import parse_form
from agenthub.domain.entities.hitl.formats import FORMATS
from agenthub.domain.exceptions import InvalidError

Json = dict[str, Any]

_CHECKER = FormatChecker(formats=["date"])
"""The library has a real check for dates only; the other three are shown in test_formats.py."""
for _name in ("email", "uri", "date-time"):
    _CHECKER.checks(_name)(lambda value, check=FORMATS[_name]: _passes(check, value))

_names = st.sampled_from(["name", "age", "größe", "a.b", "$id", ""])
_texts = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["a", "b", "ä", "😀😀", "2026-02-28", "2026-02-30", "a@b.de", "urn:x"]),
)
_numbers = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([1.0, -2.0, 0.5, 1e300, -0.0, 2**53 + 1, 10**400]),
    st.floats(allow_nan=False, allow_infinity=False),
)
_values = st.one_of(
    _texts, _numbers, st.booleans(), st.none(), st.lists(_texts, max_size=4), st.just({"a": 1})
)
_counts = st.one_of(st.integers(0, 4), st.sampled_from([0.0, 2.0]))
_choices = st.lists(_texts, min_size=1, max_size=4)


def _passes(check: Any, value: Any) -> bool:
    return not isinstance(value, str) or check(value)


def _titled(values: list[str]) -> list[Json]:
    return [{"const": value, "title": f"The {value}"} for value in values]


_titles = st.fixed_dictionaries(
    {}, optional={"title": _texts, "description": _texts, "default": _values, "x-other": _values}
)
_text_rules = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={
        "minLength": _counts,
        "maxLength": _counts,
        "format": st.sampled_from([*FORMATS, "color"]),
        "maximum": st.integers(0, 3),
    },
)
_number_rules = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])},
    optional={
        "minimum": _numbers,
        "maximum": _numbers,
        "exclusiveMinimum": _numbers,
        "exclusiveMaximum": _numbers,
        "minLength": _counts,
    },
)
_boolean_rules = st.just({"type": "boolean", "minimum": 3})
_named_rules = st.fixed_dictionaries(
    {"enum": _choices}, optional={"enumNames": st.lists(_texts, max_size=5)}
).flatmap(lambda rules: _text_rules.map(lambda text: text | rules))
# A value that stands twice fits none; at least one has to fit for the form to be let in.
_titled_rules = st.builds(
    lambda text, more, values: text | {"oneOf": _titled([*values, *values[:more], "odd one"])},
    _text_rules,
    st.integers(0, 2),
    _choices,
)
_list_rules = st.builds(
    lambda items, rules: {"type": "array", "items": items} | rules,
    st.one_of(
        _choices.map(lambda values: {"type": "string", "enum": values}),
        _choices.map(lambda values: {"anyOf": _titled(values)}),
        _choices.map(lambda values: {"type": "string", "minLength": 2, "anyOf": _titled(values)}),
    ),
    st.fixed_dictionaries(
        {}, optional={"minItems": _counts, "maxItems": _counts, "uniqueItems": st.booleans()}
    ),
)
_field_rules = st.builds(
    lambda rules, titles: titles | rules,
    st.one_of(_text_rules, _number_rules, _boolean_rules, _named_rules, _titled_rules, _list_rules),
    _titles,
)
_schemas: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(_names, _field_rules, max_size=4)},
    optional={
        "$schema": st.just("https://json-schema.org/draft/2020-12/schema"),
        "required": st.lists(_names, max_size=3, unique=True),
        "additionalProperties": st.booleans(),
        "title": _texts,
        "$defs": st.just({"unused": {"$ref": "#"}}),
    },
)


def _likely(rules: Json) -> st.SearchStrategy[Any]:
    """Values near the border of a field's rules, beside any others."""
    near: list[Any] = [*rules.get("enum", ())]
    near += [entry["const"] for entry in rules.get("oneOf", ())]
    bounds = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "default")
    near += [rules[word] for word in bounds if word in rules]
    lists: list[str] = [*rules.get("items", {}).get("enum", ())]
    lists += [entry["const"] for entry in rules.get("items", {}).get("anyOf", ())]
    fits: list[st.SearchStrategy[Any]] = [st.sampled_from(near)] if near else []
    if lists:
        fits.append(st.lists(st.sampled_from(lists), max_size=4))
    return st.one_of(*fits, _values)


@st.composite
def _schema_and_content(draw: st.DrawFn) -> tuple[Json, Any]:
    schema = draw(_schemas)
    if draw(st.integers(0, 19)) == 0:
        return schema, draw(_values)
    properties: dict[str, Json] = schema["properties"]
    known = {name: _likely(rules) for name, rules in properties.items()}
    content = draw(st.fixed_dictionaries({}, optional=known))
    return schema, content | draw(st.dictionaries(_names, _values, max_size=1))


@given(_schema_and_content())
def test_every_member_is_judged_as_json_schema_does(case: tuple[Json, Any]) -> None:
    schema, content = case
    Draft202012Validator.check_schema(schema)

    form = parse_form(schema)
    found = {fault.loc[1:2] for fault in form.check(content)}

    assert found == _reference(schema, content)


def _reference(schema: Json, content: Any) -> set[tuple[Any, ...]]:
    """Which members the library finds at fault; () is the answer as a whole."""
    validator = Draft202012Validator(schema, format_checker=_CHECKER)
    places: set[tuple[Any, ...]] = set()
    for error in validator.iter_errors(content):
        match error.validator:
            case "required":
                places |= {(n,) for n in schema["required"] if n not in content}
            case "additionalProperties":
                places |= {(n,) for n in content if n not in schema["properties"]}
            case _:
                places.add(tuple(error.path)[:1])
    assert validator.is_valid(content) is not bool(places)
    return places


@given(_schemas)
def test_what_is_proposed_fits_its_own_field(schema: Json) -> None:
    for field in parse_form(schema).fields:
        if field.default is not None:
            rules = schema["properties"][field.name]
            assert field.default == rules["default"]
            assert Draft202012Validator(rules, format_checker=_CHECKER).is_valid(field.default)


_junk = st.recursive(
    st.one_of(st.none(), st.booleans(), _numbers, _texts, st.sampled_from(["string", "object"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "items",
                    "enum",
                    "oneOf",
                    "anyOf",
                    "const",
                    "required",
                    "minLength",
                    "minimum",
                    "maxItems",
                    "default",
                    "format",
                    "pattern",
                    "$ref",
                    "enumNames",
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(_junk, st.sampled_from(["string", "integer", "boolean", "array", None]))
def test_no_schema_whatsoever_breaks_the_reader(junk: Any, word: str | None) -> None:
    rules = junk | {"type": word} if word and isinstance(junk, dict) else junk
    for schema in (junk, {"type": "object", "properties": {"a": rules}}):
        with suppress(InvalidError):
            parse_form(schema).check({"a": junk})
