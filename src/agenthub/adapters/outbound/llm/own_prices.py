"""The operator's own prices: `prices.toml` or `prices.json`, checked field by field."""

import asyncio
import json
import logging
import stat
import tomllib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from agenthub.adapters.outbound.llm.rates import Field, body_of, field_of, price_of
from agenthub.domain.exceptions import FieldFault, InvalidError
from agenthub.domain.ports.outbound.clock import Clock

OWN_FILES = ("prices.toml", "prices.json")
EVERY_S = 1.0
HIGHEST_USD_PER_TOKEN = Decimal("0.001")
MAX_FILE_BYTES = 16 * 1024 * 1024
_REQUIRED = {"input": "input_cost_per_token", "output": "output_cost_per_token"}

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    """A file as it lay there: which one, when it was written, how large it was."""

    path: Path
    written_ns: int
    size_bytes: int
    node: int


class OwnPrices:
    """Follows the operator's file: looks at it when prices are wanted, once a second at most."""

    def __init__(self, *, clock: Clock, data_dir: Path, own_file: Path | None) -> None:
        self._clock = clock
        self._is_named = own_file is not None
        names = OWN_FILES if own_file is None else (own_file,)
        self._paths = [data_dir / name for name in names]
        self._bodies: dict[str, dict[str, Any]] = {}
        self._seen: _Found | None = None
        self._looks_again_s = 0.0
        self._is_reading = False
        self.source = ""

    @property
    def models(self) -> list[str]:
        return list(self._bodies)

    def body(self, model: str) -> dict[str, Any] | None:
        for name in (model, model.partition("/")[2]):
            if name in self._bodies:
                return self._bodies[name]
        return None

    async def open(self) -> None:
        """Read the file for the first time. Raises InvalidError (`prices_invalid`)."""
        await self._take_up(self._find())

    async def look(self) -> bool:
        """Take up a changed file, and say whether one was. One with a fault changes nothing."""
        now_s = self._clock.monotonic()
        if self._is_reading or now_s < self._looks_again_s:
            return False
        self._looks_again_s = now_s + EVERY_S
        found = self._find()
        if found == self._seen:
            return False
        try:
            await self._take_up(found)
        except InvalidError as error:
            self._seen = found
            _logger.warning("no prices are taken up, the former hold: %s", error.message)
            return False
        _logger.info("the prices in %s are taken up", self.source or "the bundled list")
        return True

    async def _take_up(self, found: _Found | None) -> None:
        """Read what was found. Cancelled, it leaves the file to the next look."""
        if found is None and self._is_named:
            message = f"there is no file {self._paths[0]}"
            raise InvalidError.at("llm", "prices_file", message=message, code="prices_invalid")
        self._is_reading = True
        try:
            bodies = {} if found is None else await asyncio.to_thread(read_own, found.path)
        finally:
            self._is_reading = False
        # The state from before reading: what was written meanwhile is seen at the next look.
        self._seen = found
        self._bodies = bodies
        self.source = "" if found is None else found.path.name

    def _find(self) -> _Found | None:
        for path in self._paths:
            try:
                told = path.stat()
            except OSError:
                continue
            if stat.S_ISREG(told.st_mode):
                return _Found(path, told.st_mtime_ns, told.st_size, told.st_ino)
        return None


def read_own(path: Path) -> dict[str, dict[str, Any]]:
    """Read price bodies by model. Raises InvalidError, which names the model and the field."""
    where = path.name
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _fault(where, message=f"larger than {MAX_FILE_BYTES} bytes")
        text = path.read_text("utf-8")
        parse = tomllib.loads if path.suffix == ".toml" else json.loads
        given: Any = parse(text, parse_float=Decimal)
    except (OSError, ValueError, RecursionError) as error:
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
