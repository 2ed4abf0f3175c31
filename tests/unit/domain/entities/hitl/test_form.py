"""Forms: what is read of a schema, what is refused, and what a person is warned of."""

from typing import Any

import pytest

from agenthub.domain.entities.hitl.fields import Choice, Field, FieldKind, asks_for_secret
from agenthub.domain.entities.hitl.form import MAX_CHOICES, MAX_FIELDS, Form, parse_form
from agenthub.domain.exceptions import InvalidError


def form(**properties: Any) -> Form:
    return parse_form({"type": "object", "properties": properties})


def field(**rules: Any) -> Field:
    return form(it=rules).fields[0]


def refusal(schema: Any) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        parse_form(schema)
    assert caught.value.code == "form_refused"
    return caught.value


def test_a_field_has_its_titles_and_whether_it_must_be_filled_in() -> None:
    read = parse_form(
        {
            "type": "object",
            "properties": {
                "age": {"type": "integer", "title": "Age", "description": "In years.", "default": 3}
            },
            "required": ["age"],
        }
    )

    assert read.fields == (
        Field(
            name="age",
            kind=FieldKind.INTEGER,
            title="Age",
            description="In years.",
            required=True,
            default=3,
        ),
    )
    assert read.warnings == ()


def test_a_field_without_a_title_is_called_by_its_name() -> None:
    assert field(type="boolean").label == "it"
    assert field(type="boolean", title="It is").label == "It is"


TITLED = [{"const": "a", "title": "Apple"}, {"const": "b", "title": "Bean"}]


@pytest.mark.parametrize(
    ("rules", "kind", "titles"),
    [
        ({"type": "string", "enum": ["a", "b"]}, FieldKind.CHOICE, ("a", "b")),
        ({"type": "string", "oneOf": TITLED}, FieldKind.CHOICE, ("Apple", "Bean")),
        (
            {"type": "string", "enum": ["a", "b"], "enumNames": ["Apple"]},
            FieldKind.CHOICE,
            ("Apple", "b"),
        ),
        (
            {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
            FieldKind.CHOICES,
            ("a", "b"),
        ),
        ({"type": "array", "items": {"anyOf": TITLED}}, FieldKind.CHOICES, ("Apple", "Bean")),
        (
            {"type": "string", "enum": ["a", "b", "a"], "enumNames": ["Apple", "Bean", "Ape"]},
            FieldKind.CHOICE,
            ("Apple", "Bean"),
        ),
    ],
    ids=["enum", "oneOf", "enumNames", "items.enum", "items.anyOf", "twice"],
)
def test_every_way_of_choosing_is_read(
    rules: dict[str, Any], kind: FieldKind, titles: tuple[str, ...]
) -> None:
    read = field(**rules)

    assert read.kind is kind
    expected = tuple(Choice(v, t) for v, t in zip("ab", titles, strict=True))
    assert read.choices == expected


def test_a_list_of_names_and_one_of_titles_must_both_be_met() -> None:
    both = field(type="string", enum=["b", "c"], oneOf=TITLED)

    assert both.choices == (Choice("b", "Bean"),)


def test_a_proposal_that_breaks_its_own_rules_is_dropped_with_a_warning() -> None:
    read = form(age={"type": "integer", "maximum": 3, "default": 4})

    assert read.fields[0].default is None
    assert len(read.warnings) == 1


def test_a_fault_names_its_place_in_the_answer() -> None:
    asked = parse_form(
        {
            "type": "object",
            "properties": {
                "tags": {"type": "array", "items": {"type": "string", "enum": ["a"]}},
                "age": {"type": "integer"},
            },
            "required": ["age", "name"],
            "additionalProperties": False,
        }
    )

    faults = asked.check({"tags": ["a", "b"], "more": 1})

    assert {fault.loc for fault in faults} == {
        ("content", "tags", 1),
        ("content", "age"),
        ("content", "name"),
        ("content", "more"),
    }


def test_no_answer_at_all_is_at_fault_as_a_whole() -> None:
    assert [fault.loc for fault in form().check(None)] == [("content",)]


@pytest.mark.parametrize(
    ("rules", "good", "bad"),
    [
        ({"type": "string"}, "", 1),
        ({"type": "string", "minLength": 2}, "😀😀", "😀"),
        ({"type": "string", "maxLength": 2}, "ää", "äää"),
        ({"type": "string", "format": "date"}, "2026-02-28", "2026-02-29"),
        ({"type": "string", "enum": ["a"]}, "a", "A"),
        ({"type": "string", "oneOf": TITLED}, "b", "Bean"),
        ({"type": "integer"}, 1.0, 1.5),
        ({"type": "integer"}, 10**400, True),
        ({"type": "number"}, 0.5, "0.5"),
        ({"type": "number", "minimum": 1}, 1.0, 0.999),
        ({"type": "number", "maximum": 2**53}, 2**53, 2**53 + 1),
        ({"type": "number", "exclusiveMinimum": 1}, 1.001, 1),
        ({"type": "number", "exclusiveMaximum": 1}, 0.999, 1.0),
        ({"type": "boolean"}, False, 0),
        ({"type": "array", "items": {"enum": ["a"]}}, ["a", "a"], "a"),
        ({"type": "array", "items": {"enum": ["a"]}, "minItems": 1}, ["a"], []),
        ({"type": "array", "items": {"enum": ["a"]}, "maxItems": 1}, [], ["a", "a"]),
        ({"type": "array", "items": {"enum": ["a"]}, "uniqueItems": True}, ["a"], ["a", "a"]),
        ({"type": "array", "items": {"enum": ["a"]}, "uniqueItems": False}, ["a", "a"], ["b"]),
        ({"type": "array", "items": {"anyOf": TITLED}}, ["a", "b"], ["a", None]),
    ],
)
def test_each_rule_lets_in_what_it_should(rules: dict[str, Any], good: Any, bad: Any) -> None:
    asked = form(it=rules)

    assert asked.check({"it": good}) == ()
    assert len(asked.check({"it": bad})) == 1


def test_what_is_not_required_may_be_left_out() -> None:
    assert form(it={"type": "string", "default": "a"}).check({}) == ()


def test_a_long_list_of_wrong_choices_is_told_in_short() -> None:
    asked = form(tags={"type": "array", "items": {"type": "string", "enum": ["a"]}})

    assert len(asked.check({"tags": ["b"] * 10_000})) == 20


OBJECT: dict[str, Any] = {"type": "object"}


@pytest.mark.parametrize(
    "schema",
    [
        None,
        True,
        [],
        {},
        {"type": "array"},
        OBJECT | {"properties": []},
        OBJECT | {"properties": {"a": True}},
        OBJECT | {"$ref": "https://example.com/form.json"},
        OBJECT | {"allOf": []},
        OBJECT | {"required": "a"},
        OBJECT | {"required": [1]},
        OBJECT | {"properties": {str(i): {"type": "string"} for i in range(MAX_FIELDS + 1)}},
        OBJECT | {"properties": {"a" * 257: {"type": "string"}}},
    ],
)
def test_a_schema_that_is_no_form_is_refused(schema: Any) -> None:
    assert refusal(schema).faults


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"type": "null"},
        {"type": ["string", "null"]},
        {"type": "object", "properties": {}},
        {"$ref": "#/$defs/a"},
        {"type": "string", "$ref": "#/$defs/a"},
        {"type": "string", "anyOf": TITLED},
        {"type": "string", "not": {}},
        {"type": "integer", "oneOf": TITLED},
        {"type": "boolean", "if": {}},
        {"type": "array"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "array", "items": {"type": "integer", "enum": [1]}},
        {"type": "array", "items": {"type": "array", "items": {"enum": ["a"]}}},
        {"type": "array", "items": {"oneOf": TITLED}},
        {"type": "string", "enum": []},
        {"type": "string", "enum": "ab"},
        {"type": "string", "enum": ["a", 1]},
        {"type": "string", "enum": ["a"] * (MAX_CHOICES + 1)},
        {"type": "string", "oneOf": []},
        {"type": "string", "oneOf": ["a"]},
        {"type": "string", "oneOf": [{"title": "A"}]},
        {"type": "string", "oneOf": [{"const": 1}]},
        {"type": "string", "oneOf": [{"const": "a", "not": {}}]},
        {"type": "string", "oneOf": [{"const": "a"}, {"const": "a"}]},
        {"type": "string", "minLength": -1},
        {"type": "string", "minLength": 1.5},
        {"type": "string", "maxLength": True},
        {"type": "string", "maxLength": "3"},
        {"type": "array", "items": {"enum": ["a"]}, "minItems": -1},
        {"type": "number", "minimum": None},
        {"type": "number", "minimum": "1"},
        {"type": "number", "exclusiveMinimum": True},
        {"type": "number", "maximum": float("inf")},
        {"type": "number", "maximum": float("nan")},
    ],
)
def test_a_field_that_is_not_mcps_is_refused(rules: dict[str, Any]) -> None:
    assert refusal(OBJECT | {"properties": {"a": rules}}).faults


@pytest.mark.parametrize(
    "rules",
    [
        {"type": "string", "pattern": "(a+)+$"},
        {"type": "string", "const": "a"},
        {"type": "string", "format": "hostname"},
        {"type": "integer", "enum": [1, 2]},
        {"type": "number", "multipleOf": 0.1},
        {"type": "boolean", "const": True},
        {"type": "array", "items": {"enum": ["a"]}, "const": ["a"]},
        {"type": "array", "items": {"enum": ["a"], "pattern": "b"}},
    ],
)
def test_a_rule_beyond_the_restricted_set_is_passed_over_with_a_warning(
    rules: dict[str, Any],
) -> None:
    assert len(form(it=rules).warnings) == 1


def test_a_foreign_pattern_is_never_run() -> None:
    asked = form(it={"type": "string", "pattern": "^(a+)+$"})

    assert asked.check({"it": "a" * 100_000 + "!"}) == ()


@pytest.mark.parametrize(
    "more", [{"required": ["b"]}, {"minProperties": 2}, {"additionalProperties": {}}]
)
def test_a_rule_of_the_whole_form_is_warned_of(more: dict[str, Any]) -> None:
    assert len(parse_form(OBJECT | more).warnings) == 1


def test_a_name_cannot_act_within_a_warning() -> None:
    (warning,) = form(**{"a\x1b[2J\n" + "b" * 200: {"type": "string", "pattern": ""}}).warnings

    assert warning.isprintable()
    assert len(warning) < 120


@pytest.mark.parametrize(
    "text",
    [
        "password",
        "userPassword",
        "DB_PASSWORD",
        "api-key",
        "apiKey",
        "API key",
        "access_token",
        "client.secret",
        "Your PIN?",
        "creditCard",
        "seed phrase",
        "Passwort",
    ],
)
def test_what_sounds_like_a_secret_is_heard(text: str) -> None:
    assert asks_for_secret(text)


@pytest.mark.parametrize(
    "text", ["name", "max_tokens", "shipping", "compass", "keyboard", "spinner", "secretary", ""]
)
def test_what_does_not_is_left_in_peace(text: str) -> None:
    assert not asks_for_secret(text)


@pytest.mark.parametrize(
    ("rules", "count"),
    [
        ({"type": "string", "title": "Your password"}, 1),
        ({"type": "string", "description": "Paste the API key."}, 1),
        ({"type": "integer", "title": "PIN"}, 1),
        ({"type": "boolean", "title": "Do you have a password?"}, 0),
        ({"type": "string", "title": "Kind of token", "enum": ["a"]}, 0),
    ],
)
def test_only_what_can_hold_a_secret_is_warned_of(rules: dict[str, Any], count: int) -> None:
    assert len(form(it=rules).warnings) == count
