"""What is wrong with a server, in words a person can act on."""

import shlex
from dataclasses import dataclass

from agenthub.domain.entities.endpoints import (
    ConnectionStatus,
    Endpoint,
    EndpointState,
    StdioTransport,
)
from agenthub.domain.entities.monitoring import Health, HealthState


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and the next step, where there is one."""

    problem: str
    advice: str | None = None


def findings_of(
    endpoint: Endpoint,
    state: EndpointState,
    counts: dict[str, int],
    flags: tuple[str, ...],
    health: Health,
) -> tuple[Finding, ...]:
    """Judge a server by its connection, catalogue and probes; nothing found means healthy."""
    found: list[Finding] = []
    reason = state.last_error or "it has not answered"
    match state.status:
        case ConnectionStatus.DISABLED:
            found.append(Finding("It is disabled.", f"Connect it: agenthub enable {endpoint.name}"))
        case ConnectionStatus.CONNECTING:
            found.append(
                Finding(f"It is not connected yet: {reason}.", "Wait, or read its output.")
            )
        case ConnectionStatus.UNAUTHORIZED:
            found.append(
                Finding(
                    f"It refuses the hub: {reason}",
                    "Register it anew with the credential it wants: "
                    f"agenthub rm {endpoint.name}, then agenthub add ... -H 'Authorization: ...'",
                )
            )
        case ConnectionStatus.UNREACHABLE:
            found.append(Finding(f"It cannot be used: {reason}", _reach_advice(endpoint)))
        case ConnectionStatus.READY if health.state is HealthState.UNHEALTHY:
            why = health.fault or "it does not answer"
            found.append(
                Finding(f"It is connected, but fails its probes: {why}", _reach_advice(endpoint))
            )
        case ConnectionStatus.READY if sum(counts.values()) == 0:
            found.append(Finding("It is connected, but offers nothing.", "Check its arguments."))
        case ConnectionStatus.READY:
            pass
    found += [Finding(flag, "The rest of the server works; tell its author.") for flag in flags]
    return tuple(found)


def _reach_advice(endpoint: Endpoint) -> str:
    again = f"The hub keeps trying; to try at once: agenthub refresh {endpoint.name}"
    if isinstance(endpoint.transport, StdioTransport):
        command = shlex.join([endpoint.transport.command, *endpoint.transport.args])
        return f"Run it by hand and see what it says: {command}\n    {again}"
    return f"Check the address and that the server runs: {endpoint.transport.url}\n    {again}"
