"""Rules on the fields of a policy, read off its annotations: kinds, bounds, what may be None."""

from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from agenthub.domain.exceptions import FieldFault, InvalidError

Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Within:
    """A number, or the length of a text, from `least` to `most`; `above`: `least` is too small.

    NaN and infinity are in no range.
    """

    least: float
    most: float
    above: bool = False

    def admits(self, number: float) -> bool:
        return (self.least < number if self.above else self.least <= number) and (
            number <= self.most
        )

    def __str__(self) -> str:
        start = f"more than {self.least:,.16g}" if self.above else f"{self.least:,.16g}"
        return f"{start} {'and at most' if self.above else 'to'} {self.most:,.16g}"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one field may hold. `kind` is bool, int, float, str, an enumeration or a policy part."""

    kind: type[Any]
    nullable: bool
    range: Within | None

    def fault_of(self, value: object) -> str | None:
        """Say in words what is wrong with a value; None: it is right."""
        if value is None:
            return None if self.nullable else "must not be empty"
        if not self._is_kind(value):
            return f"must be {self.words()}"
        if self.range is None:
            return None
        size = len(value) if isinstance(value, str) else value
        is_fit = isinstance(size, int | float) and self.range.admits(size)
        return None if is_fit else f"must be {self.words()}"

    def words(self) -> str:
        """Describe what is allowed, as it completes "must be ..."."""
        if issubclass(self.kind, StrEnum):
            return "one of " + ", ".join(sorted(self.kind))
        name = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        text = name.get(self.kind, "an object")
        if self.range is None:
            return text
        return f"{text} of {self.range}{' characters' if self.kind is str else ''}"

    def _is_kind(self, value: object) -> bool:
        if isinstance(value, bool):
            return self.kind is bool
        return isinstance(value, (int, float) if self.kind is float else self.kind)


@cache
def rules_of(part: type[Any]) -> dict[str, Rule]:
    """Read the rules of a dataclass, by field, in their order."""
    hints = get_type_hints(part, include_extras=True)
    return {one.name: _rule(hints[one.name]) for one in fields(part)}


def require(part: object, place: Loc, faults: list[FieldFault]) -> None:
    """Raise InvalidError for every field that breaks its rule, and for `faults` of more than one.

    `faults` count only where the single fields are right. `place` is the part's own path.
    """
    rules = rules_of(type(part))
    told = [(name, rule.fault_of(getattr(part, name))) for name, rule in rules.items()]
    wrong = [FieldFault((*place, name), fault) for name, fault in told if fault is not None]
    raise_for(wrong or [FieldFault((*place, *one.loc), one.message) for one in faults])


def raise_for(faults: list[FieldFault]) -> None:
    """Raise InvalidError where there are faults, naming each."""
    if faults:
        words = "; ".join(f"{'.'.join(map(str, f.loc))}: {f.message}" for f in faults[:10])
        raise InvalidError(words, faults=tuple(faults))


def _rule(hint: Any) -> Rule:
    nullable = False
    if get_origin(hint) in (Union, UnionType):
        nullable = NoneType in get_args(hint)
        hint = next(one for one in get_args(hint) if one is not NoneType)
    if get_origin(hint) is Annotated:
        kind, bounds = get_args(hint)
        return Rule(kind, nullable, bounds)
    return Rule(hint, nullable, None)
