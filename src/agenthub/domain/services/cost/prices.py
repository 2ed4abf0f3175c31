"""Today's prices, each kept once, so that an old entry can always be reckoned again."""

from agenthub.domain.entities.cost import LARGEST_LIMIT, PriceSnapshot, Tokens
from agenthub.domain.entities.identity import Principal
from agenthub.domain.ports.outbound.llm import PriceList
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork

MAX_KNOWN = 10_000


class PriceBook:
    """The price list, and the snapshots of it that the ledger's entries name."""

    def __init__(self, *, prices: PriceList, uow: UnitOfWork) -> None:
        self._prices = prices
        self._uow = uow
        self._kept: set[tuple[str, str]] = set()

    async def today(self, principal: Principal, model: str) -> PriceSnapshot | None:
        """Give a model's price and keep its snapshot; None where nobody knows the price."""
        await self._prices.load()
        price = self._prices.price(model)
        if price is None or (principal.workspace, price.id) in self._kept:
            return price
        async with self._uow.begin(principal) as tx:
            await tx.ledger.put_price(price)
            await tx.commit()
        if len(self._kept) >= MAX_KNOWN:
            self._kept.clear()
        self._kept.add((principal.workspace, price.id))
        return price

    def cost(self, price: PriceSnapshot, tokens: Tokens) -> int:
        """Reckon a call, in nano-dollars; no more than the ledger can hold."""
        return min(self._prices.cost_nano_usd(price, tokens), LARGEST_LIMIT)

    def most(self, price: PriceSnapshot, prompt: int, completion: int, sounds: int = 0) -> int:
        """Reckon the dearest way in which so many tokens can be used; `sounds` of the prompt's."""
        ways = (
            Tokens(prompt=prompt, audio_in=sounds, completion=completion),
            Tokens(prompt=prompt, audio_in=sounds, completion=completion, reasoning=completion),
            Tokens(prompt=prompt, completion=completion),
            Tokens(prompt=prompt, completion=completion, reasoning=completion),
            Tokens(prompt=prompt, cache_write_5m=prompt, completion=completion),
            Tokens(prompt=prompt, cache_write_1h=prompt, completion=completion),
        )
        return max(self.cost(price, way) for way in ways)
