"""The source files of the house, read once."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "agenthub"

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file; `name` is its path from the root of the repository."""

    name: str
    text: str

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    def nodes(self) -> Iterator[ast.AST]:
        return ast.walk(ast.parse(self.text, self.name))

    def functions(self) -> Iterator[AnyFunction]:
        return (n for n in self.nodes() if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


@cache
def sources(folder: str) -> tuple[Source, ...]:
    """Read every Python file below `folder`, without what npm put there."""
    found = tuple(
        Source(str(path.relative_to(ROOT)), path.read_text())
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "node_modules" not in path.parts
    )
    assert found, f"no Python file below {folder}: this guard would guard nothing"
    return found
