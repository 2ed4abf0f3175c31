"""/api/gateway/.../policy: what the guards go by, for the hub, a server or a tool."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from agenthub.adapters.inbound.http.dependencies import HubDep, Reader, Writer
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.adapters.inbound.http.policy_schema import (
    HubPolicyLayer,
    Policy,
    PolicyLayer,
    ToolPolicyLayer,
)
from agenthub.adapters.inbound.http.routes.servers import NO_SERVER, ServerId
from agenthub.domain.entities.resilience.layers import as_document
from agenthub.domain.services.policies import PolicyReport

router = APIRouter(prefix="/api/gateway", tags=["gateway"])

HUB = "/policy"
SERVER = "/servers/{id}/policy"
TOOL = "/servers/{id}/tools/{tool:path}/policy"
LOOKED_AT = problems(_404=NO_SERVER)
FULL = "Too many policies are set, or the server has just been removed."
MISFIT = "The layer breaks a rule, or does not fit others; `errors` names the fields."
CHANGED_HUB = problems(_409=FULL, _422=MISFIT)
CHANGED = problems(_404=NO_SERVER, _409=FULL, _422=MISFIT)
ToolName = Annotated[str, Path(description="The tool's name at its server.", max_length=8_192)]


class PolicyOut(BaseModel):
    """A policy, and the layers of the same hub, server or tool."""

    effective: Policy = Field(description="What holds, all layers taken together.")
    stored: PolicyLayer = Field(description="What was set here at run time.")
    file: PolicyLayer = Field(description="What agenthub.toml and the environment say here.")
    warnings: list[str] = Field(
        description="Servers and tools that are named here, but do not exist now."
    )


@router.get(HUB, summary="Look at the hub's policy")
async def get_policy(hub: HubDep, principal: Reader) -> PolicyOut:
    """Show what holds for every server unless its own policy says otherwise."""
    return _show(hub.policies.show(principal))


@router.patch(HUB, summary="Change the hub's policy", responses=CHANGED_HUB)
async def change_policy(body: HubPolicyLayer, hub: HubDep, principal: Writer) -> PolicyOut:
    return _show(await hub.policies.change(principal, None, None, body.root))


@router.put(HUB, summary="Set the hub's policy", responses=CHANGED_HUB)
async def set_policy(body: HubPolicyLayer, hub: HubDep, principal: Writer) -> PolicyOut:
    """Put a layer in place of the one that was set; here null takes a limit away."""
    return _show(await hub.policies.change(principal, None, None, body.root, replace=True))


@router.delete(
    HUB, status_code=204, summary="Forget what was set for the hub", responses=CHANGED_HUB
)
async def reset_policy(hub: HubDep, principal: Writer) -> None:
    await hub.policies.reset(principal)


@router.get(SERVER, summary="Look at a server's policy", responses=LOOKED_AT)
async def get_server_policy(id: ServerId, hub: HubDep, principal: Reader) -> PolicyOut:  # noqa: A002
    return _show(hub.policies.show(principal, id))


@router.patch(SERVER, summary="Change a server's policy", responses=CHANGED)
async def change_server_policy(
    id: ServerId,  # noqa: A002
    body: PolicyLayer,
    hub: HubDep,
    principal: Writer,
) -> PolicyOut:
    return _show(await hub.policies.change(principal, id, None, body.root))


@router.put(SERVER, summary="Set a server's policy", responses=CHANGED)
async def set_server_policy(
    id: ServerId,  # noqa: A002
    body: PolicyLayer,
    hub: HubDep,
    principal: Writer,
) -> PolicyOut:
    """Put a layer in place of the one that was set; here null takes a limit away."""
    return _show(await hub.policies.change(principal, id, None, body.root, replace=True))


@router.delete(
    SERVER, status_code=204, summary="Forget what was set for a server", responses=CHANGED
)
async def reset_server_policy(id: ServerId, hub: HubDep, principal: Writer) -> None:  # noqa: A002
    await hub.policies.reset(principal, id)


@router.get(TOOL, summary="Look at a tool's policy", responses=LOOKED_AT)
async def get_tool_policy(
    id: ServerId,  # noqa: A002
    tool: ToolName,
    hub: HubDep,
    principal: Reader,
) -> PolicyOut:
    return _show(hub.policies.show(principal, id, tool))


@router.patch(TOOL, summary="Change a tool's policy", responses=CHANGED)
async def change_tool_policy(
    id: ServerId,  # noqa: A002
    tool: ToolName,
    body: ToolPolicyLayer,
    hub: HubDep,
    principal: Writer,
) -> PolicyOut:
    """Change it; the tool need not be there yet."""
    return _show(await hub.policies.change(principal, id, tool, body.root))


@router.put(TOOL, summary="Set a tool's policy", responses=CHANGED)
async def set_tool_policy(
    id: ServerId,  # noqa: A002
    tool: ToolName,
    body: ToolPolicyLayer,
    hub: HubDep,
    principal: Writer,
) -> PolicyOut:
    """Put a layer in place of the one that was set; here null takes a limit away."""
    return _show(await hub.policies.change(principal, id, tool, body.root, replace=True))


@router.delete(TOOL, status_code=204, summary="Forget what was set for a tool", responses=CHANGED)
async def reset_tool_policy(
    id: ServerId,  # noqa: A002
    tool: ToolName,
    hub: HubDep,
    principal: Writer,
) -> None:
    await hub.policies.reset(principal, id, tool)


def _show(report: PolicyReport) -> PolicyOut:
    return PolicyOut(
        effective=Policy(as_document(report.effective)),
        stored=PolicyLayer(report.stored),
        file=PolicyLayer(report.file),
        warnings=list(report.warnings),
    )
