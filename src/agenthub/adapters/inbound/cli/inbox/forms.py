"""A server's form, filled in field by field, or from `name=value` words."""

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any, cast

from agenthub.adapters.inbound.cli.inbox.terminal import Terminal
from agenthub.adapters.inbound.cli.inbox.words import quote, short
from agenthub.adapters.inbound.cli.output import WrongUse, say
from agenthub.domain.entities.hitl.fields import Field, FieldKind
from agenthub.domain.entities.hitl.form import Form

NOTHING = "-"
"""Typed to leave out a field that has a default."""
_YES, _NO = ("y", "yes", "true"), ("n", "no", "false")
_TYPES = {
    FieldKind.TEXT: "text",
    FieldKind.INTEGER: "whole number",
    FieldKind.NUMBER: "number",
    FieldKind.BOOLEAN: "yes or no",
    FieldKind.CHOICE: "one of these, by its number",
    FieldKind.CHOICES: "any of these, by their numbers, with commas",
}


def fill_in(
    terminal: Terminal, form: Form, content: dict[str, Any], names: Collection[str] = ()
) -> dict[str, Any]:
    """Ask for all fields, or for those of these names; `content` is what was said before."""
    filled = dict(content)
    for field in form.fields:
        if names and field.name not in names:
            continue
        say()
        _say_field(field)
        found = _asked(terminal, field, filled.pop(field.name, field.default))
        if found is not None:
            filled[field.name] = found
    return filled


def content_of(form: Form, words: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` words by the form's own types. Raises WrongUse."""
    fields = {field.name: field for field in form.fields}
    content: dict[str, Any] = {}
    for word in words:
        name, mark, text = word.partition("=")
        if not mark:
            raise WrongUse(f"{word!r} is not of the form NAME=VALUE.")
        if name not in fields:
            known = ", ".join(fields) or "none"
            raise WrongUse(f"The form has no field {name!r}; its fields: {known}.")
        try:
            content[name] = value_of(fields[name], text)
        except ValueError as error:
            raise WrongUse(f"{name}: {error}") from error
    return content


def value_of(field: Field, text: str) -> Any:
    """Read what a person typed into a field. Raises ValueError with words to show."""
    match field.kind:
        case FieldKind.INTEGER | FieldKind.NUMBER:
            return _number(text)
        case FieldKind.BOOLEAN:
            return _truth(text)
        case FieldKind.CHOICE:
            return _choice(field, text)
        case FieldKind.CHOICES:
            return [_choice(field, one.strip()) for one in text.split(",") if one.strip()]
        case FieldKind.TEXT:
            return text


def shown(field: Field, value: Any) -> str:
    """Write a value as a person would type or read it."""
    titles = {choice.value: choice.title for choice in field.choices}
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return titles.get(value, value)
    if isinstance(value, list):
        return ", ".join(titles.get(one, one) for one in cast("list[str]", value))
    return json.dumps(value)


def _asked(terminal: Terminal, field: Field, default: Any) -> Any:
    """Ask until the value fits; None: the field is left out."""
    while True:
        text = terminal.read(_prompt(field, default))
        if not text and default is not None:
            return default
        if text in ("", NOTHING) and not field.required:
            return None
        try:
            value = value_of(field, text)
        except ValueError as error:
            say(f"  {error}")
            continue
        faults = field.faults(value)
        if not faults:
            return value
        for fault in faults:
            say(f"  {fault.message}")


def _prompt(field: Field, default: Any) -> str:
    name = short(field.name, 40)
    if default is None:
        return f"{name}: "
    return f"{name} [{short(shown(field, default))}]: "


def _say_field(field: Field) -> None:
    need = "required" if field.required else "optional"
    rules = "; ".join((_TYPES[field.kind], *_limits(field), need))
    say(f"{short(field.label)} ({rules})")
    if field.description:
        quote(field.description)
    for number, choice in enumerate(field.choices, 1):
        extra = "" if choice.title == choice.value else f" ({short(choice.value)})"
        say(f"  {number}. {short(choice.title)}{extra}")
    for warning in field.warnings:
        say(f"  ! {short(warning, 300)}")
    if field.default is not None and not field.required:
        say(f"  ({NOTHING} leaves it out)")


def _limits(field: Field) -> Iterator[str]:
    if field.format:
        yield field.format
    if field.min_length:
        yield f"at least {field.min_length} characters"
    if field.max_length is not None:
        yield f"at most {field.max_length} characters"
    if field.minimum is not None:
        yield f"at least {field.minimum}"
    if field.maximum is not None:
        yield f"at most {field.maximum}"
    if field.min_items:
        yield f"at least {field.min_items} of them"
    if field.max_items is not None:
        yield f"at most {field.max_items} of them"


def _number(text: str) -> int | float:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    return value


def _truth(text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError("must be yes or no")


def _choice(field: Field, text: str) -> str:
    """Take a value, or the number it was shown with. A value that is a number comes first."""
    values = [choice.value for choice in field.choices]
    if text in values:
        return text
    if text.isdecimal() and 0 < int(text) <= len(values):
        return values[int(text) - 1]
    raise ValueError("must be one of the choices")
