"""The operator's own prices: `prices.toml` or `prices.json`, checked field by field."""

import json
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from agenthub.adapters.outbound.llm.rates import Field, body_of, field_of, price_of
from agenthub.domain.exceptions import FieldFault, InvalidError

HIGHEST_USD_PER_TOKEN = Decimal("0.001")
MAX_FILE_BYTES = 16 * 1024 * 1024
_REQUIRED = {"input": "input_cost_per_token", "output": "output_cost_per_token"}


def read_own(path: Path) -> dict[str, dict[str, Any]]:
    """Read price bodies by model. Raises InvalidError, which names the model and the field."""
    where = path.name
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _fault(where, message=f"larger than {MAX_FILE_BYTES} bytes")
        text = path.read_text("utf-8")
        parse = tomllib.loads if path.suffix == ".toml" else json.loads
        given: Any = parse(text, parse_float=Decimal)
    except (OSError, ValueError) as error:
        raise _fault(where, message=f"cannot be read: {error}") from error
    entries = _table(given)
    if entries is None:
        raise _fault(where, message="must be a table of models")
    return {model: _body(where, model, entry) for model, entry in entries.items()}


def _table(value: Any) -> dict[str, Any] | None:
    try:
        return msgspec.convert(value, dict[str, Any])
    except msgspec.ValidationError:
        return None


def _body(where: str, model: str, entry: Any) -> dict[str, Any]:
    fields = _table(entry)
    if fields is None:
        raise _fault(where, model, message="must be a table of prices")
    prices: dict[Field, Decimal] = {}
    for name, value in fields.items():
        field = field_of(name)
        if field is not None:
            prices[field] = _price(where, model, name, value)
        elif "cost" in name or "pric" in name:
            raise _fault(where, model, name, message="no price that the hub knows")
    for kind, name in _REQUIRED.items():
        if Field(kind) not in prices:
            raise _fault(where, model, name, message="is missing")
    return body_of(model, str(fields.get("litellm_provider", "")), prices)


def _price(where: str, model: str, name: str, value: Any) -> Decimal:
    price = None
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        price = price_of(str(value))
    if price is None or price > HIGHEST_USD_PER_TOKEN:
        raise _fault(where, model, name, message="must be dollars per token, from 0 to 0.001")
    return price


def _fault(*loc: str, message: str) -> InvalidError:
    text = f"{': '.join(loc)}: {message}"
    return InvalidError(text, faults=(FieldFault(loc, message),), code="prices_invalid")
