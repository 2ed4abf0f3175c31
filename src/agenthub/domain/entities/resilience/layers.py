"""Layers of a policy: sparse documents over what holds beneath them.

A layer names fields as GatewayPolicy does, nested ones in objects. What it leaves out holds as
below. Parts are overlaid field by field; a `fallback` alone is taken as a whole, for its two kinds
exclude each other. A rate limit over none needs no `burst`: it is then a second's worth.
Null, or the word "none" (TOML has no null, and in a merge patch null removes a field), takes a
limit, price or fallback away; for a field that cannot be empty null means as below.
`price_usd`, a decimal text, stands for `price_nano_usd`.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from math import ceil
from typing import Any, TypeGuard, TypeVar

from agenthub.domain.entities.resilience.checks import Loc, Rule, raise_for, rules_of
from agenthub.domain.entities.resilience.policy import (
    NANO,
    FallbackPolicy,
    GatewayPolicy,
    Part,
    RateLimit,
)
from agenthub.domain.exceptions import FieldFault, InvalidError

NONE = "none"
Document = dict[str, Any]
P = TypeVar("P", bound=Part)

_USD = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?")
_MAX_USD = 1_000_000
_MAX_FAULTS = 50
_MAX_NAME = 128


class Level(StrEnum):
    """Whose layer it is."""

    HUB = "hub"
    SERVER = "server"
    TOOL = "tool"


FOREIGN: dict[Level, frozenset[str]] = {
    Level.HUB: frozenset({"fallback"}),
    Level.SERVER: frozenset(),
    Level.TOOL: frozenset({"balancing", "definitions", "health", "panic_share"}),
}
"""What a layer may not set: one fallback cannot serve every tool, and a tool has no instances."""


def merged(
    base: GatewayPolicy, layer: Mapping[str, Any], *, level: Level | None = None, loc: Loc = ()
) -> GatewayPolicy:
    """Lay a layer over a policy. InvalidError names every field at fault, behind `loc`.

    With `level` fields that such a layer may not set are faults as well.
    """
    faults = [
        FieldFault((*loc, name), f"cannot be set for a {level}")
        for name in sorted(FOREIGN[level] & layer.keys() if level else ())
    ]
    policy = _overlaid(base, priced(layer, loc=loc, faults=faults), loc, faults)
    raise_for(faults[:_MAX_FAULTS])
    return policy


def as_document(policy: GatewayPolicy) -> Document:
    """Show a policy as a layer that sets everything, the price in both ways."""
    shown = _shown(policy)
    price = policy.price_nano_usd
    return {**shown, "price_usd": None if price is None else usd_of(price)}


def canonical(layer: Mapping[str, Any]) -> Document:
    """Write a valid layer in the one way in which it is kept: no "none", no price in dollars."""
    return _kept(GatewayPolicy, priced(layer, loc=(), faults=[]))


def patched(layer: Mapping[str, Any], patch: Mapping[str, Any]) -> Document:
    """Change a layer by a merge patch: null removes a field, so that it holds as below.

    Raises InvalidError where the price is no price. Source: RFC 7396.
    """
    return _patched(layer, whole(patch))


def whole(layer: Mapping[str, Any]) -> Document:
    """Read a layer that replaces another. Raises InvalidError where the price is no price."""
    faults: list[FieldFault] = []
    given = priced(layer, loc=(), faults=faults)
    raise_for(faults)
    return given


def misfit_at(whose: str, error: InvalidError) -> InvalidError:
    """Say that a change is at fault for what it does to somebody else's policy."""
    faults = [replace(f, message=f"does not fit {whose}: {f.message}") for f in error.faults]
    text = f"This does not fit the policy of {whose}: {error.message}"
    return InvalidError(text, faults=tuple(faults))


def priced(layer: Mapping[str, Any], *, loc: Loc, faults: list[FieldFault]) -> Document:
    """Write the price of a layer in nano-dollars."""
    given = dict(layer)
    if "price_usd" not in given:
        return given
    price = given.pop("price_usd")
    if price is not None and price != NONE:
        try:
            price = nano_of(price)
        except ValueError as error:
            faults.append(FieldFault((*loc, "price_usd"), str(error)))
            return given
    if given.setdefault("price_nano_usd", price) != price:
        faults.append(FieldFault((*loc, "price_usd"), "differs from price_nano_usd"))
    return given


def nano_of(usd: object) -> int:
    """Read dollars off a decimal text, exactly. Raises ValueError."""
    found = _USD.fullmatch(usd) if isinstance(usd, str) else None
    if found is None:
        raise ValueError('must be a text of dollars with at most 9 decimals, such as "0.002"')
    whole, decimals = found.groups()
    nano = int(whole) * NANO + int((decimals or "").ljust(9, "0"))
    if nano > _MAX_USD * NANO:
        raise ValueError(f"must be at most {_MAX_USD:,} dollars")
    return nano


def usd_of(nano: int) -> str:
    """Write nano-dollars as dollars, exactly."""
    whole, rest = divmod(nano, NANO)
    return f"{whole}.{rest:09}".rstrip("0").rstrip(".")


def _overlaid(base: P, layer: Mapping[str, Any], loc: Loc, faults: list[FieldFault]) -> P:
    rules = rules_of(type(base))
    before = len(faults)
    changes: Document = {}
    for name, value in layer.items():
        rule = rules.get(name)
        if rule is None:
            fault = f"is unknown; there are {', '.join(rules)}"
            faults.append(FieldFault((*loc, name[:_MAX_NAME]), fault))
        elif value is not None or rule.nullable:
            changes[name] = _read(getattr(base, name), rule, value, (*loc, name), faults)
    if len(faults) > before:
        told = [(name, rules[name].fault_of(value)) for name, value in changes.items()]
        faults += [FieldFault((*loc, name), fault) for name, fault in told if fault is not None]
        return base
    try:
        return replace(base, **changes)
    except InvalidError as error:
        faults += [replace(f, loc=(*loc, *f.loc[len(base.PLACE) :])) for f in error.faults]
        return base


def _read(below: Any, rule: Rule, value: Any, loc: Loc, faults: list[FieldFault]) -> Any:
    """Make of a layer's value what the policy holds; a fault leaves what is below."""
    if rule.nullable and (value is None or value == NONE):
        return None
    if issubclass(rule.kind, StrEnum):
        return rule.kind(value) if value in [*rule.kind] else value
    if not issubclass(rule.kind, Part):
        return value
    given = _document(value)
    if given is None:
        faults.append(FieldFault(loc, f"must be {rule.words()}"))
        return below
    if rule.kind is FallbackPolicy:
        return _fallback(given, loc, faults)
    if below is None:
        return _rate_limit(given, loc, faults)
    return _overlaid(below, given, loc, faults)


def _fallback(given: Document, loc: Loc, faults: list[FieldFault]) -> FallbackPolicy:
    """Read a fallback, which knows nothing of the one beneath."""
    # Over any valid one, whose fields are all taken away unless given.
    blank = dict.fromkeys(rules_of(FallbackPolicy))
    return _overlaid(FallbackPolicy(cached_for_s=1), {**blank, **given}, loc, faults)


def _rate_limit(given: Document, loc: Loc, faults: list[FieldFault]) -> RateLimit | None:
    """Read a rate limit where there is none beneath."""
    rate = given.get("rate_per_s")
    if rate is None:
        faults.append(FieldFault((*loc, "rate_per_s"), "is missing"))
        return None
    blank = RateLimit(rate_per_s=1, burst=1)
    limit = _overlaid(blank, {**given, "burst": given.get("burst")}, loc, faults)
    if given.get("burst") is None and limit is not blank:
        return replace(limit, burst=max(1, ceil(limit.rate_per_s)))
    return limit


def _document(value: object) -> Document | None:
    return {str(name): one for name, one in value.items()} if _is_mapping(value) else None


def _is_mapping(value: object) -> TypeGuard[Mapping[object, Any]]:
    return isinstance(value, Mapping)


def _shown(part: Part) -> Document:
    return {name: _plain(getattr(part, name)) for name in rules_of(type(part))}


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    return _shown(value) if isinstance(value, Part) else value


def _kept(part: type[Any], layer: Mapping[str, Any]) -> Document:
    rules = rules_of(part)
    return {
        name: _kept_value(rules[name], value)
        for name, value in layer.items()
        if value is not None or rules[name].nullable
    }


def _kept_value(rule: Rule, value: Any) -> Any:
    if rule.nullable and value == NONE:
        return None
    inner = _document(value)
    if inner is not None:
        return _kept(rule.kind, inner)
    return value.value if isinstance(value, StrEnum) else value


def _patched(target: object, patch: Mapping[str, Any]) -> Document:
    result = _document(target) or {}
    for name, value in patch.items():
        inner = _document(value)
        if value is None:
            result.pop(name, None)
        elif inner is not None:
            result[name] = _patched(result.get(name), inner)
        else:
            result[name] = value
    return result
