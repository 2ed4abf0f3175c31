"""What the guide must say of every field of a policy: its default and what it may hold."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from agenthub.domain.entities.resilience.checks import Rule, rules_of
from agenthub.domain.entities.resilience.policy import GatewayPolicy, Part


def rows() -> Iterator[tuple[str, str, str]]:
    """Give the first three cells of each row: field, default, allowed values with their unit."""
    yield from _rows(GatewayPolicy, GatewayPolicy(), "")


def _rows(part: type[Any], policy: Part | None, before: str) -> Iterator[tuple[str, str, str]]:
    for name, rule in rules_of(part).items():
        value = None if policy is None else getattr(policy, name)
        if issubclass(rule.kind, Part):
            yield from _rows(rule.kind, value, f"{before}{name}.")
        else:
            yield f"`{before}{name}`", _default(value), _allowed(name, rule)


def _default(value: object) -> str:
    if value is None:
        return "none"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _allowed(name: str, rule: Rule) -> str:
    if issubclass(rule.kind, StrEnum):
        return ", ".join(f"`{word}`" for word in rule.kind)
    if rule.range is None:
        return "`true`, `false`"
    return f"{rule.range} {_unit(name, rule)}".strip()


def _unit(name: str, rule: Rule) -> str:
    if rule.kind is str:
        return "characters"
    endings = {
        "_per_s": "per second",
        "_s": "seconds",
        "_share": "(a share)",
        "_nano_usd": "nano-dollars",
    }
    return next((unit for end, unit in endings.items() if name.endswith(end)), "")
