"""The price list: LiteLLM's bundled map, and the operator's own file above it."""

import asyncio
import importlib.util
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from agenthub.adapters.outbound.llm.own_prices import OwnPrices
from agenthub.adapters.outbound.llm.rates import (
    Field,
    body_of,
    cost_of,
    digest_of,
    field_of,
    per_million,
    price_of,
)
from agenthub.domain.entities.cost import PriceSnapshot, Tokens
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.llm import PriceList

BUNDLED = "model_prices_and_context_window_backup.json"
MAX_KEPT = 1_024
"""Prices kept worked out; they are few, unless somebody asks through the whole list."""

_NO_TOKENS = frozenset({"image_generation", "image_edit", "video_generation", "audio_speech"})


class _Tier(msgspec.Struct):
    range: list[Decimal]
    input_cost_per_token: Decimal | None = None
    output_cost_per_token: Decimal | None = None
    cache_read_input_token_cost: Decimal | None = None
    cache_creation_input_token_cost: Decimal | None = None
    cache_creation_input_token_cost_above_1hr: Decimal | None = None
    output_cost_per_reasoning_token: Decimal | None = None


class _Head(msgspec.Struct):
    """What tells whether a model's tokens have a price."""

    litellm_provider: str = ""
    mode: str | None = None
    input_cost_per_token: Decimal | None = None
    output_cost_per_token: Decimal | None = None
    tiered_pricing: list[_Tier] | None = None

    @property
    def is_priced(self) -> bool:
        if self.mode in _NO_TOKENS:
            return False
        if self.tiered_pricing:
            return True
        needs_output = self.mode != "embedding"
        return self.input_cost_per_token is not None and (
            self.output_cost_per_token is not None or not needs_output
        )

    @property
    def looks_free(self) -> bool:
        return not (self.tiered_pricing or self.input_cost_per_token or self.output_cost_per_token)


class LiteLlmPriceList(PriceList):
    """A resident: entering it checks the operator's file. The bundled map is read when needed.

    `load` takes up a changed file of the operator; what was reckoned before keeps its snapshot.

    LiteLLM itself is never imported here: its map is one file, 3 MB, read in 20 ms.
    """

    def __init__(self, *, clock: Clock, data_dir: Path, own_file: Path | None = None) -> None:
        self._clock = clock
        self._own = OwnPrices(clock=clock, data_dir=data_dir, own_file=own_file)
        self._bundled: dict[str, msgspec.Raw] | None = None
        self._bundled_names: list[str] = []
        self._names: list[str] | None = None
        self._snapshots: dict[str, PriceSnapshot | None] = {}

    async def __aenter__(self) -> Self:
        await self._own.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bundled = None
        self._forget()

    async def load(self) -> None:
        if await self._own.look():
            self._forget()
        if self._bundled is None:
            self._bundled, self._bundled_names = await asyncio.to_thread(_read_bundled)

    def price(self, model: str) -> PriceSnapshot | None:
        if model in self._snapshots:
            return self._snapshots[model]
        body, source = self._own.body(model), self._own.source
        if body is None:
            body, source = self._bundled_body(model), f"litellm {_litellm_version()}"
        found = None
        if body is not None:
            found = PriceSnapshot(
                id=digest_of(body), body=body, source=source, at=self._clock.now()
            )
        if len(self._snapshots) >= MAX_KEPT:
            self._snapshots.clear()
        self._snapshots[model] = found
        return found

    def models(self) -> list[str]:
        self._map()
        if self._names is None:
            self._names = sorted({*self._bundled_names, *self._own.models})
        return self._names

    def per_million_nano_usd(self, price: PriceSnapshot) -> tuple[int, int]:
        return per_million(price.body, "input"), per_million(price.body, "output")

    def cost_nano_usd(self, price: PriceSnapshot, tokens: Tokens) -> int:
        return cost_of(price.body, tokens)

    def _map(self) -> dict[str, msgspec.Raw]:
        if self._bundled is None:
            self._bundled, self._bundled_names = _read_bundled()
        return self._bundled

    def _forget(self) -> None:
        """Forget what was worked out from the operator's file as it was."""
        self._names = None
        self._snapshots.clear()

    def _bundled_body(self, model: str) -> dict[str, Any] | None:
        """Look a model up as LiteLLM does: as it is called, else without its provider.

        Without it, the entry must be of that provider: a namesake elsewhere has other prices.
        """
        known = self._map()
        if model in known:
            return _body(model, known[model])
        provider, _, bare = model.partition("/")
        if bare in known and _head(known[bare]).litellm_provider.startswith(provider):
            return _body(bare, known[bare])
        return None


def _litellm_version() -> str:
    try:
        return version("litellm")
    except PackageNotFoundError:
        return "unknown"


def _read_bundled() -> tuple[dict[str, msgspec.Raw], list[str]]:
    """Find the map beside LiteLLM's code, which stays unimported, and keep it unparsed."""
    spec = importlib.util.find_spec("litellm")
    places = (spec.submodule_search_locations if spec else None) or []
    for place in places:
        path = Path(place) / BUNDLED
        if path.is_file():
            entries = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
            entries.pop("sample_spec", None)
            return entries, [name for name, raw in entries.items() if _is_priced(raw)]
    return {}, []


def _head(raw: msgspec.Raw) -> _Head:
    try:
        return msgspec.json.decode(raw, type=_Head)
    except msgspec.DecodeError:
        return _Head()


def _is_priced(raw: msgspec.Raw) -> bool:
    """Say whether the tokens are what is billed: zeros stand where a picture or a query is, too."""
    head = _head(raw)
    return head.is_priced and not (head.looks_free and _bills_otherwise(raw))


def _bills_otherwise(raw: msgspec.Raw) -> bool:
    """Say whether an entry has a price, and none of it for tokens."""
    prices = {
        name: bytes(value).decode()
        for name, value in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items()
        if "cost" in name
    }
    dear = [name for name, text in prices.items() if price_of(text)]
    return bool(dear) and not any(field_of(name) for name in dear)


def _body(model: str, raw: msgspec.Raw) -> dict[str, Any] | None:
    """Read the prices of one bundled entry, from the digits as they are written."""
    if not _is_priced(raw):
        return None
    head = _head(raw)
    prices: dict[Field, Decimal] = {}
    for name, value in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items():
        field = field_of(name)
        price = price_of(bytes(value).decode()) if field is not None else None
        if field is not None and price is not None:
            prices[field] = price
    tiers = [
        (int(tier.range[0]), _tier_prices(tier))
        for tier in head.tiered_pricing or []
        if len(tier.range) == 2 and tier.input_cost_per_token is not None
    ]
    return body_of(model, head.litellm_provider, prices, tiers)


def _tier_prices(tier: _Tier) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for name in tier.__struct_fields__:
        field, value = field_of(name), getattr(tier, name)
        if field is not None and value is not None:
            found[field.kind] = value
    return found
