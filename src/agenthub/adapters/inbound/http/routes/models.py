"""/api/models: the language models behind the hub, what they cost, and asking one."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from agenthub.adapters.inbound.http.completions import CompletionAnswer
from agenthub.adapters.inbound.http.dependencies import (
    Chatter,
    HubDep,
    Reader,
    SurroundingsDep,
)
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.adapters.inbound.http.routes.costs import TokensOut
from agenthub.adapters.inbound.http.transports import Body
from agenthub.domain.entities.cost import Purpose, usd
from agenthub.domain.ports.outbound.llm import ModelRequest
from agenthub.domain.services.models import ModelOffer

router = APIRouter(prefix="/api/models", tags=["models"])

ASKED: dict[int | str, dict[str, Any]] = problems(
    _409="The hub has no language model: `AGENTHUB_LLM__MODEL` is not set.",
    _429="A budget has no room (`budget_exceeded`), or the provider is asked too much.",
    _502="The model's provider has a fault.",
    _504="The model's provider did not answer in time.",
)
EVENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "event": {"enum": ["text", "cost", "done", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
STREAM_NOTE = (
    "With `stream`, server-sent events: `text` as it comes, then `cost` and `done`; `error` in "
    "their place where the answer breaks off."
)


class ModelOut(BaseModel):
    """A model. Prices are decimals in dollars for a million tokens, null where nobody knows."""

    name: str
    is_default: bool
    input_usd_per_million: str | None
    output_usd_per_million: str | None

    @classmethod
    def of(cls, offer: ModelOffer) -> "ModelOut":
        return cls(
            name=offer.name,
            is_default=offer.is_default,
            input_usd_per_million=_usd(offer.input_nano_usd),
            output_usd_per_million=_usd(offer.output_nano_usd),
        )


class ModelList(BaseModel):
    items: list[ModelOut]


class MessageIn(BaseModel):
    """A message in the form of OpenAI's chat completions; further members are handed on."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str, Field(max_length=1_000_000)] | list[dict[str, Any]] | None = None


class CompletionIn(Body):
    messages: Annotated[list[MessageIn], Field(min_length=1, max_length=1_000)]
    model: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            pattern=r"^[\w./:@+ -]+$",
            description="One of the configured provider; without it, the hub's own.",
        ),
    ] = None
    max_tokens: Annotated[
        int | None,
        Field(ge=1, le=1_000_000, description="At most `AGENTHUB_LLM__MAX_TOKENS`."),
    ] = None
    temperature: Annotated[float | None, Field(ge=0, le=2, allow_inf_nan=False)] = None
    stream: bool = False

    def request(self) -> ModelRequest:
        return ModelRequest(
            messages=[message.model_dump(exclude_unset=True) for message in self.messages],
            model=self.model or "",
            max_tokens=self.max_tokens or 0,
            temperature=self.temperature,
        )


class CompletionOut(BaseModel):
    """A whole answer. `tokens` is null where the provider told none; the cost is estimated then.

    The cost is null where nobody knows the price.
    """

    text: str
    model: str | None
    finish_reason: str
    tokens: TokensOut | None
    cost_nano_usd: int | None
    cost_usd: str | None
    entry_id: str


@router.get("", summary="List models and prices")
async def list_models(
    hub: HubDep,
    principal: Reader,
    query: Annotated[str, Query(max_length=200, description="Words of the name.")] = "",
    limit: Annotated[int, Query(ge=1, le=1_000)] = 50,
) -> ModelList:
    """List models whose price is known, the hub's own first."""
    offers = await hub.models.offers(principal, query, limit)
    return ModelList(items=[ModelOut.of(offer) for offer in offers])


@router.post(
    "/complete",
    summary="Ask a model",
    description=f"Needs the scope `chat`. {STREAM_NOTE}",
    response_model=CompletionOut,
    responses={
        **ASKED,
        200: {"content": {"text/event-stream": {"schema": EVENT}}},
    },
)
async def complete(
    body: CompletionIn, hub: HubDep, around: SurroundingsDep, principal: Chatter
) -> Response:
    """Ask a model, and have the call counted and paid for."""
    chunks = hub.models.complete(principal, body.request(), Purpose.CHAT)
    return CompletionAnswer(chunks, around.closing, is_streamed=body.stream)


def _usd(nano: int | None) -> str | None:
    return None if nano is None else usd(nano)
