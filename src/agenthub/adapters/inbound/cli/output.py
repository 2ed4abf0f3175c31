"""How the command line speaks: tables for people, JSON for programs, clear failures."""

import json
from collections.abc import Sequence
from math import ceil
from typing import Any
from unicodedata import category

import typer


class Failure(Exception):
    """The command could not do its work: exit code 1."""

    def __init__(self, message: str, *, problem: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.problem = problem


class WrongUse(Exception):
    """The command's words make no sense: exit code 2."""


def say(text: str = "") -> None:
    typer.echo(clean(text))


def say_json(data: Any) -> None:
    typer.echo(clean(json.dumps(data, indent=2, ensure_ascii=False)))


def complain(text: str) -> None:
    typer.echo(clean(text), err=True)


def clean(text: str) -> str:
    """Make control and invisible characters visible, as JSON does: others' text is not trusted."""
    return "".join(c if c in "\n\t" or _is_plain(c) else json.dumps(c)[1:-1] for c in text)


def _is_plain(char: str) -> bool:
    """Say whether a character neither steers the terminal nor hides."""
    return category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns; the last one may be long."""
    lines = [list(map(str, row)) for row in (heads, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        say("  ".join(cells).rstrip())


def wait_words(seconds: float) -> str:
    """Say how long to wait, as people say it; never less than it is."""
    for size, limit, unit in ((1, 90, "s"), (60, 90, "min"), (3_600, 48, "h")):
        if ceil(seconds / size) < limit:
            return f"{ceil(seconds / size)} {unit}"
    return f"{ceil(seconds / 86_400)} days"


def exit_code_of(error: Exception) -> int:
    """Report a failed command and give its exit code."""
    complain(f"agenthub: {error}")
    return 2 if isinstance(error, WrongUse) else 1
