"""/livez, /readyz and /metrics: for whoever runs the hub."""

from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from agenthub.adapters.inbound.http.dependencies import Reader, Surroundings, SurroundingsDep
from agenthub.adapters.inbound.http.metrics import CONTENT_TYPE, Numbers
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.domain.exceptions import UnavailableError

router = APIRouter(tags=["operations"])

MAX_SERVERS = 10_000


class Alive(BaseModel):
    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"


@router.get("/livez", summary="Say whether the process runs")
async def livez() -> Alive:
    return Alive()


@router.get(
    "/readyz",
    summary="Say whether requests are taken",
    responses=problems(_503="The hub is stopping, or its database does not answer."),
)
async def readyz(around: SurroundingsDep) -> Ready:
    """Ask the database; the registered servers do not decide."""
    await _require_ready(around)
    return Ready()


@router.get(
    "/metrics",
    summary="Give numbers to Prometheus",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(around: SurroundingsDep, principal: Reader) -> Response:
    # Prometheus' library takes 1 MB: a hub that nobody watches shall not have it.
    from agenthub.adapters.inbound.http.metrics_page import exposition  # noqa: PLC0415

    hub = around.hub
    numbers = Numbers(
        around.counters,
        await hub.endpoints.page(principal, limit=MAX_SERVERS, after=None),
        await hub.gateway.page(principal, limit=MAX_SERVERS, after=None),
        await hub.gateway.calls(principal),
    )
    return Response(exposition(numbers), media_type=CONTENT_TYPE)


async def _require_ready(around: Surroundings) -> None:
    """Raise UnavailableError while requests would fail."""
    if around.closing.has_begun:
        raise UnavailableError("The hub is stopping.", code="stopping")
    await around.ping()
