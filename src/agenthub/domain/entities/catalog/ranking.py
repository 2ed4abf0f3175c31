"""How well an item fits words that somebody looks for."""

import re
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
NAME_WEIGHT = 3.0
TITLE_WEIGHT = 2.0
TEXT_WEIGHT = 1.0
PREFIX_SHARE = 0.6
"""What a word counts for that only begins like the one looked for."""
MAX_TEXT = 4_000


@dataclass(frozen=True, slots=True)
class Described:
    """What is searched of an item."""

    name: str
    title: str = ""
    description: str = ""


def score(query: str, item: Described) -> float:
    """Say how well `item` fits `query`, from 0 (no word fits) to 1 (every word is in its name).

    Lexical: words are compared, not meanings.
    """
    wanted = set(_words(query))
    if not wanted:
        return 0.0
    fields = (
        (set(_words(item.name)), NAME_WEIGHT),
        (set(_words(item.title)), TITLE_WEIGHT),
        (set(_words(item.description[:MAX_TEXT])), TEXT_WEIGHT),
    )
    best = (max(weight * _fit(word, words) for words, weight in fields) for word in wanted)
    return round(sum(best) / (NAME_WEIGHT * len(wanted)), 4)


def _fit(word: str, words: set[str]) -> float:
    if word in words:
        return 1.0
    if len(word) > 2 and any(other.startswith(word) for other in words):
        return PREFIX_SHARE
    return 0.0


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", text))]
