"""What routes ask for: the hub, and a principal with the scope they need."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from agenthub.adapters.inbound.gate import PRINCIPAL
from agenthub.adapters.inbound.http.metrics import Counters
from agenthub.adapters.inbound.http.sse import Closing
from agenthub.adapters.inbound.hub import Hub
from agenthub.domain.entities.identity import Principal, Scope
from agenthub.domain.exceptions import UnauthenticatedError
from agenthub.domain.ports.outbound.clock import Clock


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What routes need beside the services. `ping` raises UnavailableError, as storage does."""

    hub: Hub
    clock: Clock
    closing: Closing
    counters: Counters
    ping: Callable[[], Awaitable[None]]


def surroundings_of(request: Request) -> Surroundings:
    return request.app.state.surroundings


# Dependencies are coroutines though they await nothing: FastAPI calls each plain function in a
# thread, which costs more than most routes.


async def _hub(request: Request) -> Hub:
    return surroundings_of(request).hub


async def _surroundings(request: Request) -> Surroundings:
    return surroundings_of(request)


bearer = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="The owner token or the secret of an API key.",
)


async def _principal(
    needed: SecurityScopes,
    request: Request,
    shown: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Principal:
    """Give whom the gate let in. Raises DeniedError when a scope is missing."""
    principal: Principal | None = request.scope.get(PRINCIPAL)
    if principal is None:
        raise UnauthenticatedError("Send a token: Authorization: Bearer ...")
    for scope in needed.scopes:
        principal.require(Scope(scope))
    return principal


async def _any_caller(
    enough: SecurityScopes,
    request: Request,
    shown: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Principal:
    """Give whom the gate let in, if one of the scopes is there. Raises DeniedError."""
    principal = await _principal(SecurityScopes(), request, shown)
    scopes = [Scope(scope) for scope in enough.scopes]
    if not any(principal.allows(scope) for scope in scopes):
        principal.require(scopes[0])
    return principal


HubDep = Annotated[Hub, Depends(_hub)]
SurroundingsDep = Annotated[Surroundings, Depends(_surroundings)]
Reader = Annotated[Principal, Security(_principal, scopes=[Scope.HUB_READ.value])]
Writer = Annotated[Principal, Security(_principal, scopes=[Scope.HUB_WRITE.value])]
Admin = Annotated[Principal, Security(_principal, scopes=[Scope.ADMIN.value])]
ToolCaller = Annotated[Principal, Security(_principal, scopes=[Scope.TOOLS_CALL.value])]
ResourceReader = Annotated[Principal, Security(_principal, scopes=[Scope.RESOURCES_READ.value])]
Chatter = Annotated[Principal, Security(_principal, scopes=[Scope.CHAT.value])]
Answerer = Annotated[Principal, Security(_principal, scopes=[Scope.HITL_ANSWER.value])]
Collector = Annotated[
    Principal,
    Security(
        _any_caller,
        scopes=[Scope.TOOLS_CALL.value, Scope.RESOURCES_READ.value, Scope.PROMPTS_GET.value],
    ),
]
"""Who may have made a call: one of these scopes is enough."""
PromptGetter = Annotated[Principal, Security(_principal, scopes=[Scope.PROMPTS_GET.value])]
