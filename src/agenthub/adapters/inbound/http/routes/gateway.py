"""/api/gateway/servers: the guards of each server as they are now, and moving breakers by hand."""

from math import ceil
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from agenthub.adapters.inbound.http.dependencies import HubDep, Reader, Writer
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.adapters.inbound.http.pagination import Page, PagingDep
from agenthub.adapters.inbound.http.transports import Body
from agenthub.domain.entities.resilience.circuit_breaker import Snapshot, State
from agenthub.domain.entities.resilience.policy import Balancing
from agenthub.domain.services.resilience.desk import (
    InstanceGate,
    Lever,
    ServerGate,
    ToolGate,
)

router = APIRouter(prefix="/api/gateway/servers", tags=["gateway"])

NO_SERVER = "There is no such server, or it is not yours to see."
ServerId = Annotated[str, Path(description="The server's id or name.", max_length=128)]


class BreakerOut(BaseModel):
    """A circuit breaker; the counts are of its window."""

    state: State
    retry_after_s: float | None = Field(
        description="Who calls after so many seconds gets in; 0: at once; null: not before a reset."
    )
    consecutive_failures: int
    calls: int
    failures: int
    slow: int
    opened_times: int
    probes_out: int
    generation: int


class InstanceGateOut(BaseModel):
    """The guards of one instance."""

    id: str
    weight: int
    priority: int
    draining: bool
    breaker: BreakerOut
    in_flight: int = Field(description="Calls that hold a place now.")
    queued: int = Field(description="Calls that wait for a place.")
    outstanding: int = Field(
        description="Calls under way, those included that wait for a place or ask a person."
    )
    paused_for_s: float = Field(description="For how long it asked to be left alone.")


class ToolGateOut(BaseModel):
    """A tool's own breaker at one instance."""

    tool: str
    instance: str
    breaker: BreakerOut


class LimiterOut(BaseModel):
    """The server's rate limit over all callers."""

    rate_per_s: float
    burst: int
    tokens: float


class ServerGateOut(BaseModel):
    """All guards of one server."""

    id: str
    name: str
    balancing: Balancing
    instances: list[InstanceGateOut]
    tools: list[ToolGateOut]
    limiter: LimiterOut | None


class WhichInstance(Body):
    """Which instance is meant; null: all."""

    instance: Annotated[str, Field(max_length=128)] | None = None


@router.get("", summary="Look at the guards of all servers")
async def list_gates(hub: HubDep, principal: Reader, paging: PagingDep) -> Page[ServerGateOut]:
    """List by name."""
    rows = await hub.gateway.page(principal, limit=paging.limit + 1, after=paging.after)
    return paging.page(rows, show, lambda gate: gate.endpoint.name)


@router.get("/{id}", summary="Look at a server's guards", responses=problems(_404=NO_SERVER))
async def get_gate(id: ServerId, hub: HubDep, principal: Reader) -> ServerGateOut:  # noqa: A002
    return show(await hub.gateway.show(principal, id))


@router.post("/{id}/reset", summary="Close a server's breakers", responses=problems(_404=NO_SERVER))
async def reset(
    id: ServerId,  # noqa: A002
    hub: HubDep,
    principal: Writer,
    body: WhichInstance | None = None,
) -> ServerGateOut:
    """Forget failures and pauses; what an operator had opened or disabled works by itself again."""
    return show(await hub.gateway.move(principal, id, Lever.RESET, _which(body)))


@router.post("/{id}/force-open", summary="Let no call through", responses=problems(_404=NO_SERVER))
async def force_open(
    id: ServerId,  # noqa: A002
    hub: HubDep,
    principal: Writer,
    body: WhichInstance | None = None,
) -> ServerGateOut:
    """Refuse all calls until a reset."""
    return show(await hub.gateway.move(principal, id, Lever.FORCE_OPEN, _which(body)))


@router.post(
    "/{id}/disable", summary="Switch a server's breakers off", responses=problems(_404=NO_SERVER)
)
async def disable(
    id: ServerId,  # noqa: A002
    hub: HubDep,
    principal: Writer,
    body: WhichInstance | None = None,
) -> ServerGateOut:
    """Let every call through, whatever happens, until a reset."""
    return show(await hub.gateway.move(principal, id, Lever.DISABLE, _which(body)))


def _which(body: WhichInstance | None) -> str | None:
    return None if body is None else body.instance


def show(gate: ServerGate) -> ServerGateOut:
    """Show a server's guards as REST clients see them."""
    limiter = gate.limiter
    return ServerGateOut(
        id=gate.endpoint.id,
        name=gate.endpoint.name,
        balancing=gate.policy.balancing,
        instances=[_instance(one) for one in gate.instances],
        tools=[_tool(one) for one in gate.tools],
        limiter=None
        if limiter is None
        else LimiterOut(
            rate_per_s=limiter.limit.rate_per_s,
            burst=limiter.limit.burst,
            tokens=round(limiter.tokens, 3),
        ),
    )


def _instance(gate: InstanceGate) -> InstanceGateOut:
    return InstanceGateOut(
        id=gate.instance.id,
        weight=gate.instance.weight,
        priority=gate.instance.priority,
        draining=gate.instance.draining,
        breaker=_breaker(gate.breaker),
        in_flight=gate.in_flight,
        queued=gate.queued,
        outstanding=gate.outstanding,
        paused_for_s=round(gate.paused_for_s, 3),
    )


def _tool(gate: ToolGate) -> ToolGateOut:
    return ToolGateOut(tool=gate.tool, instance=gate.instance_id, breaker=_breaker(gate.breaker))


def _breaker(shot: Snapshot) -> BreakerOut:
    wait_s = shot.retry_after_s
    return BreakerOut(
        state=shot.state,
        retry_after_s=None if wait_s is None else ceil(wait_s * 1_000) / 1_000,
        consecutive_failures=shot.consecutive_failures,
        calls=shot.calls,
        failures=shot.failures,
        slow=shot.slow,
        opened_times=shot.opened_times,
        probes_out=shot.probes_out,
        generation=shot.generation,
    )
