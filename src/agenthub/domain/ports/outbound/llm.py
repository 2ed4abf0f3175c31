"""Language models, whoever runs them."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from agenthub.domain.entities.cost import PriceSnapshot, Tokens
from agenthub.domain.ids import EntryId


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One completion. Messages and tools are in the form of OpenAI's chat completions.

    An empty `model` is the hub's own. `max_tokens` has no default at the provider: 0 is for the
    service to fill. `timeout_s` bounds every wait for the provider, not the whole answer.
    """

    messages: list[dict[str, Any]]
    model: str = ""
    tools: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tool_choice: str | None = None
    """`auto`, `required` or `none`; counts only where there are tools."""
    max_tokens: int = 0
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    timeout_s: float = 300.0
    call_id: str = ""
    """The ledger's entry; told to the provider as X-Client-Request-Id. Empty: the service's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChunk:
    """A part of the answer. The last one of a whole answer has `finish_reason`.

    `tokens` come with the last one, where the provider told usage that can be true. The service
    adds the cost, None where it is not known, and the ledger's entry.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()
    finish_reason: str | None = None
    model: str | None = None
    tokens: Tokens | None = None
    cost_nano_usd: int | None = None
    entry_id: EntryId | None = None


class Llm(ABC):
    """Makes completions. It neither retries nor counts: one layer of the hub does each."""

    @abstractmethod
    def complete(self, request: ModelRequest) -> AsyncGenerator[ModelChunk]:
        """Stream one completion; closing the generator ends it at the provider.

        Raises InvalidError, DeniedError (credentials), QuotaError, TimedOutError,
        UnavailableError, UpstreamError. A fault whose `reached_server` is False cost nothing.
        """

    @abstractmethod
    async def count(self, request: ModelRequest) -> int:
        """Count the tokens of a prompt with its tools, as well as it can be told here.

        Sounds count nothing. Raises InvalidError for what no call can be made of, such as a model
        of another provider (`model_unknown`).
        """

    @abstractmethod
    async def count_text(self, model: str, text: str) -> int:
        """Count the tokens of an answer's text."""


class PriceList(ABC):
    """What models cost, from the bundled list and the operator's own file above it."""

    @abstractmethod
    async def load(self) -> None:
        """Have the list at hand, so that the other methods answer at once."""

    @abstractmethod
    def price(self, model: str) -> PriceSnapshot | None:
        """Give today's prices of a model, None where they are not known.

        Its `body` holds the rates in nano-dollars per token as exact decimal texts.
        """

    @abstractmethod
    def models(self) -> list[str]:
        """List the models whose price is known."""

    @abstractmethod
    def per_million_nano_usd(self, price: PriceSnapshot) -> tuple[int, int]:
        """Give what a million tokens cost, in and out, in calls that reach no higher step."""

    @abstractmethod
    def cost_nano_usd(self, price: PriceSnapshot, tokens: Tokens) -> int:
        """Compute exactly what a call costs at these prices; rounded half up once, at the end."""
