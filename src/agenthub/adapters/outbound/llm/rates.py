"""What a token costs: LiteLLM's price fields read into exact rates, and the sum of a call."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

from agenthub.domain.entities.cost import Tokens

NANO = Decimal(1_000_000_000)
MAX_DIGITS = 24
_EXACT = Context(prec=120)
"""Wide enough that no product or sum of prices and counts is ever rounded before the end."""

_PLAIN = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_in",
    "output_cost_per_audio_token": "audio_out",
}
_FIELD = re.compile(rf"({'|'.join(_PLAIN)})(?:_above_(\d+)(k?)_tokens)?")

_FALLBACK = {
    "cached_read": "input",
    "cache_write_5m": "input",
    "cache_write_1h": "cache_write_5m",
    "audio_in": "input",
    "audio_out": "output",
    "reasoning": "output",
}
"""A kind without a price of its own is billed like this one, in this order."""

_INCLUSIVE = frozenset({"xai"})
"""Providers that bill the higher tier from the threshold on; the others, above it."""

_CACHED_SHARE = {"fireworks_ai": Decimal("0.5")}
"""What a cached token costs of an uncached one where the list does not say."""


@dataclass(frozen=True, slots=True)
class Field:
    """A price field of LiteLLM: the kind of token, and above how many prompt tokens it holds."""

    kind: str
    above: int = 0


def field_of(name: str) -> Field | None:
    """Read a field's name; None for fields that are no price of a token at the standard tier."""
    found = _FIELD.fullmatch(name)
    if found is None:
        return None
    count = int(found[2] or 0) * (1_000 if found[3] else 1)
    return Field(_PLAIN[found[1]], count)


def price_of(text: str) -> Decimal | None:
    """Read a price as it is written; None for what is no finite number from 0 on."""
    try:
        value = Decimal(text.strip('"'))
    except InvalidOperation:
        return None
    if not value.is_finite() or value < 0 or len(value.as_tuple().digits) > MAX_DIGITS:
        return None
    return value if value == 0 or abs(value.adjusted()) <= MAX_DIGITS else None


def body_of(
    model: str,
    provider: str,
    prices: Mapping[Field, Decimal],
    tiers: Iterable[tuple[int, Mapping[str, Decimal]]] = (),
) -> dict[str, Any]:
    """Make the body of a price snapshot: every rate resolved, in nano-dollars, as exact texts.

    `prices` are dollars per token. `tiers` are whole price lists, each above so many prompt tokens.
    """
    shift = 1 if provider in _INCLUSIVE else 0
    given = {0: {field.kind: price for field, price in prices.items() if field.above == 0}}
    for field, price in prices.items():
        if field.above:
            given.setdefault(field.above - shift, {})[field.kind] = price
    steps: list[tuple[int, dict[str, Decimal]]] = []
    so_far: dict[str, Decimal] = {}
    for above, step in sorted(given.items()):
        so_far = {**so_far, **step}
        steps.append((above, _resolved(so_far, provider)))
    for above, whole in tiers:
        base = {"output": so_far["output"]} if "output" in so_far else {}
        steps = [one for one in steps if one[0] != above]
        steps.append((above, _resolved({**base, **whole}, provider)))
    return {
        "model": model,
        "unit": "nano-usd per token",
        "steps": [
            {"above": above, "rates": {kind: _text(rate) for kind, rate in sorted(rates.items())}}
            for above, rates in sorted(steps, key=lambda one: one[0])
        ],
    }


def digest_of(body: Mapping[str, Any]) -> str:
    """Name a body by its content."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(canonical).hexdigest()


def cost_of(body: Mapping[str, Any], tokens: Tokens) -> int:
    """Sum up a call in whole nano-dollars, rounded half up once.

    Reasoning is a part of the completion. Audio tokens that the cache covers are billed as cached.
    """
    rates = _rates_at(body, tokens.prompt)
    written = tokens.cache_write_5m + tokens.cache_write_1h
    fresh = max(tokens.prompt - tokens.cached_read - written, 0)
    audio_in = min(tokens.audio_in, fresh)
    audio_out = min(tokens.audio_out, tokens.completion)
    reasoning = min(tokens.reasoning, tokens.completion - audio_out)
    counts = {
        "input": fresh - audio_in,
        "audio_in": audio_in,
        "cached_read": tokens.cached_read,
        "cache_write_5m": tokens.cache_write_5m,
        "cache_write_1h": tokens.cache_write_1h,
        "output": tokens.completion - audio_out - reasoning,
        "audio_out": audio_out,
        "reasoning": reasoning,
    }
    total = Decimal(0)
    for kind, count in counts.items():
        if count:
            total = _EXACT.fma(Decimal(rates[kind]), Decimal(count), total)
    return int(total.to_integral_value(ROUND_HALF_UP, _EXACT))


def per_million(body: Mapping[str, Any], kind: str) -> int:
    """Give a million tokens' price at the lowest step, in whole nano-dollars."""
    rate = Decimal(body["steps"][0]["rates"][kind])
    return int((rate * 1_000_000).to_integral_value(ROUND_HALF_UP, _EXACT))


def _rates_at(body: Mapping[str, Any], prompt: int) -> Mapping[str, str]:
    """Give the rates of the highest step that so many prompt tokens reach."""
    steps: list[dict[str, Any]] = body["steps"]
    return next((s["rates"] for s in reversed(steps) if prompt > s["above"]), steps[0]["rates"])


def _resolved(given: Mapping[str, Decimal], provider: str) -> dict[str, Decimal]:
    rates = {"input": Decimal(0), "output": Decimal(0), **given}
    share = _CACHED_SHARE.get(provider)
    if share is not None and "cached_read" not in rates:
        rates["cached_read"] = _EXACT.multiply(rates["input"], share)
    for kind, other in _FALLBACK.items():
        rates.setdefault(kind, rates[other])
    return rates


def _text(price_usd: Decimal) -> str:
    """Write a price in nano-dollars, without an exponent."""
    return format(_EXACT.multiply(price_usd, NANO).normalize(_EXACT), "f")
