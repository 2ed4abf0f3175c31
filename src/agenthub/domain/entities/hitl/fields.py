"""One field of a form: how it is shown, and what fits into it."""

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, cast

from agenthub.domain.entities.hitl.formats import FORMATS
from agenthub.domain.exceptions import FieldFault

MAX_ITEM_FAULTS = 20
"""Of one list: more of them help nobody."""
_SECRET = re.compile(
    r"(?<![a-z])(?:pass ?words?|passwd|pass ?phrases?|pass ?codes?|pass ?keys?|pwd|secrets?|token"
    r"|(?:api|access|private|secret) ?keys?|credentials?|pin|cvv|cvc|credit ?card|card numbers?"
    r"|ssn|social security|otp|2fa|mfa|one time codes?|seed phrases?|recovery (?:codes?|phrases?)"
    r"|mnemonic|passwort|kennwort|mot de passe|contraseña|senha)(?![a-z])|пароль|密码|パスワード"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_JOINT = re.compile(r"[\s_.\-]+")


def asks_for_secret(text: str) -> bool:
    """Say whether a text reads as if it wanted a password or the like."""
    words = _JOINT.sub(" ", _CAMEL.sub(" ", text)).lower()
    return _SECRET.search(words) is not None


class FieldKind(StrEnum):
    """How a field is filled in. CHOICE is one value of several, CHOICES any number of them."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    CHOICES = "choices"


@dataclass(frozen=True, slots=True)
class Choice:
    """A value and what a person reads for it."""

    value: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A member of the answer. A rule that is None or 0 is not set.

    `default` is what to begin with, None where there is none or it breaks the field's own rules.
    It is a proposal: a member that is left out stays out.
    """

    name: str
    kind: FieldKind
    title: str = ""
    description: str = ""
    required: bool = False
    default: Any = None
    choices: tuple[Choice, ...] = ()
    format: str = ""
    """`email`, `uri`, `date` or `date-time`."""
    min_length: int = 0
    """In code points, as `max_length`."""
    max_length: int | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    more_than: int | float | None = None
    less_than: int | float | None = None
    min_items: int = 0
    max_items: int | None = None
    is_distinct: bool = False
    """Nothing may be chosen twice."""
    warnings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return self.title or self.name

    def faults(self, value: Any) -> list[FieldFault]:
        """Say what is wrong with a value; nothing where JSON Schema finds nothing."""
        if self.kind is not FieldKind.CHOICES:
            return [FieldFault(("content", self.name), text) for text in self._faults(value)]
        if not isinstance(value, list):
            return [FieldFault(("content", self.name), "must be a list")]
        items = cast(list[Any], value)
        found = [FieldFault(("content", self.name), text) for text in self._count_faults(items)]
        return found + list(islice(self._item_faults(items), MAX_ITEM_FAULTS))

    def _item_faults(self, items: list[Any]) -> Iterator[FieldFault]:
        allowed = {choice.value for choice in self.choices}
        for index, item in enumerate(items):
            for text in self._text_faults(item, allowed):
                yield FieldFault(("content", self.name, index), text)

    def _faults(self, value: Any) -> Iterator[str]:
        match self.kind:
            case FieldKind.BOOLEAN:
                if not isinstance(value, bool):
                    yield "must be true or false"
            case FieldKind.INTEGER | FieldKind.NUMBER:
                yield from self._number_faults(value)
            case _:
                yield from self._text_faults(value, {choice.value for choice in self.choices})

    def _number_faults(self, value: Any) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield "must be a number"
            return
        if self.kind is FieldKind.INTEGER and isinstance(value, float) and not value.is_integer():
            yield "must be a whole number"
        if self.minimum is not None and value < self.minimum:
            yield f"must be at least {self.minimum}"
        if self.maximum is not None and value > self.maximum:
            yield f"must be at most {self.maximum}"
        if self.more_than is not None and value <= self.more_than:
            yield f"must be more than {self.more_than}"
        if self.less_than is not None and value >= self.less_than:
            yield f"must be less than {self.less_than}"

    def _text_faults(self, value: Any, allowed: Set[str]) -> Iterator[str]:
        if not isinstance(value, str):
            yield "must be text"
            return
        if len(value) < self.min_length:
            yield f"must have at least {self.min_length} characters"
        if self.max_length is not None and len(value) > self.max_length:
            yield f"must have at most {self.max_length} characters"
        if self.format and not FORMATS[self.format](value):
            yield f"must be a valid {self.format}"
        if allowed and value not in allowed:
            yield "must be one of the choices"

    def _count_faults(self, items: list[Any]) -> Iterator[str]:
        if len(items) < self.min_items:
            yield f"needs at least {self.min_items} choices"
        if self.max_items is not None and len(items) > self.max_items:
            yield f"takes at most {self.max_items} choices"
        texts = [item for item in items if isinstance(item, str)]
        if self.is_distinct and len(set(texts)) < len(texts):
            yield "must have no choice twice"
