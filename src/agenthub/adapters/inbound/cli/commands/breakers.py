"""What a server's breakers keep calls from, in a few words."""

from typing import Any

GATES = "/api/gateway/servers"
WHOLE = "the whole server"


def breakers_of(gate: dict[str, Any], state: str) -> list[str]:
    """Name what a server's breakers in a state stand before: instances, tools, or all of it."""
    instances = [one["id"] for one in gate["instances"] if one["breaker"]["state"] == state]
    tools = sorted({one["tool"] for one in gate["tools"] if one["breaker"]["state"] == state})
    if instances and len(instances) == len(gate["instances"]):
        return [WHOLE]
    return [*(f"instance {one}" for one in instances), *(f"tool {one}" for one in tools)]


def status_of(server: dict[str, Any], gate: dict[str, Any] | None) -> str:
    """Say how a server is, and whether its breakers keep calls from it."""
    for state in ("forced_open", "open"):
        shut = breakers_of(gate, state) if gate else []
        if shut:
            part = "" if shut == [WHOLE] else " in part"
            return f"{server['status']} ({state}{part})"
    return server["status"]
