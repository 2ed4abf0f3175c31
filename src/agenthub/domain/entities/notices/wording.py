"""Events in words: a title of one line, and what to know beside it."""

from datetime import datetime
from math import ceil
from typing import Any

from agenthub.domain.event import ASKED, ApprovalAsked, ElicitationAsked, SamplingAsked
from agenthub.domain.foreign_text import visible

NANO = 1_000_000_000
MAX_NAME_CHARS = 80
_STATUS = {
    "ready": "reachable again",
    "healthy": "healthy again",
    "unreachable": "unreachable",
    "unhealthy": "does not answer",
    "unauthorized": "refuses the hub",
}
_BREAKER = {
    "open": "calls are stopped for now",
    "forced_open": "calls are stopped by hand",
    "half_open": "calls are tried again",
    "closed": "calls go through again",
    "disabled": "the breaker is off",
}
_REASON = {
    "consecutive_failures": "too many failures in a row",
    "failure_share": "too many calls fail",
    "slow_share": "too many calls are slow",
    "probe_due": "a call is tried",
    "probe_failed": "the call that was tried failed",
    "probe_slow": "the call that was tried was slow",
    "recovered": "a call that was tried went well",
    "operator": "an operator switched it",
    "policy": "its policy was changed",
}
_BY_OPERATOR = {
    "closed": "an operator reset it",
    "forced_open": "an operator switched it off",
    "disabled": "an operator switched its breaker off",
}
_ASKS = {
    SamplingAsked.name: "asks for a model's answer",
    ElicitationAsked.name: "has a question",
    ApprovalAsked.name: "a call waits for your approval",
}


def worded(event: str, facts: dict[str, Any]) -> tuple[str, str]:
    """Give title and body for a person."""
    if event in ASKED:
        return _asked(event, facts)
    match event:
        case "server.status":
            return _server(facts)
        case "breaker.changed":
            return _breaker(facts)
        case "budget.alert":
            return _budget(facts)
        case "definition.changed":
            return _definition(facts)
        case "gap":
            return (
                "AgentHub: some events were missed",
                "They are no longer kept. Look at the hub for its present state.",
            )
        case _:
            where = facts.get("server") or "the hub"
            return f"AgentHub: {event} ({where})", _listed(facts)


def _server(facts: dict[str, Any]) -> tuple[str, str]:
    status = str(facts["status"])
    where = f"Server {facts['server']}"
    if facts.get("instance"):
        where += f", instance {facts['instance']}"
    return f"{where}: {_STATUS.get(status, status)}", str(
        facts.get("detail") or f"Its status is now {status}."
    )


def _breaker(facts: dict[str, Any]) -> tuple[str, str]:
    state = str(facts["state"])
    what = f"Server {facts['server']}"
    if facts.get("tool"):
        what += f", tool {_name(facts['tool'])}"
    reason = str(facts["reason"])
    why = _REASON.get(reason, reason)
    if reason == "operator":
        why = _BY_OPERATOR.get(state, why)
    wait_s = facts.get("retry_after_s")
    then = ""
    if state == "open" and isinstance(wait_s, int | float) and wait_s > 0:
        then = f"; the next try is in {ceil(wait_s)} s"
    return f"{what}: {_BREAKER.get(state, state)}", f"{why[:1].upper()}{why[1:]}{then}."


def _budget(facts: dict[str, Any]) -> tuple[str, str]:
    subject = facts.get("server") or facts.get("subject") or ""
    name = " ".join(word for word in (str(facts["scope"]), str(subject)) if word)
    limit, spent = int(facts["limit_nano_usd"]), int(facts["spent_nano_usd"])
    title = f"Budget {name}: {facts['percent']} % of {_dollars(limit)} spent"
    is_stopped = facts.get("hard_stop") and spent >= limit
    then = " Further calls are refused." if is_stopped else ""
    return title, f"Spent so far: {_dollars(spent)} of {_dollars(limit)}.{then}"


def _definition(facts: dict[str, Any]) -> tuple[str, str]:
    tool = f"Server {facts['server']}, tool {_name(facts['tool'])}"
    if facts.get("decided"):
        return f"{tool}: new definition {facts['decided']}", "It can be called as it is now."
    if facts.get("held"):
        return (
            f"{tool}: definition changed, tool held back",
            "It cannot be called until somebody has read the change and accepted it.",
        )
    return f"{tool}: definition changed", "It can be called; read the change."


def _asked(event: str, facts: dict[str, Any]) -> tuple[str, str]:
    """Say who asks, and how to answer; never what is asked: that takes the scope for it."""
    where = f"Server {facts['server']}"
    if facts.get("tool"):
        where += f", tool {_name(facts['tool'])}"
    until = datetime.fromisoformat(str(facts["expires_at"]))
    return f"{where}: {_ASKS[event]}", (
        f"Answer until {until:%H:%M} UTC, on the dashboard or by "
        f"'agenthub inbox answer {facts['request_id']}'."
    )


def _name(text: object) -> str:
    """Show a name of a server's on one line, with what nobody would see of it."""
    words = " ".join(visible(str(text)).split())
    return words if len(words) <= MAX_NAME_CHARS else f"{words[: MAX_NAME_CHARS - 3]}..."


def _dollars(nano: int) -> str:
    return f"${nano / NANO:,.2f}"


def _listed(facts: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in facts.items() if value is not None)
