"""agenthub doctor: what is wrong, and what to do about it."""

from typing import Annotated, Any

import typer

from agenthub.adapters.inbound.cli.commands.breakers import GATES, breakers_of
from agenthub.adapters.inbound.cli.commands.policies import place_of
from agenthub.adapters.inbound.cli.commands.servers import SERVERS, Json
from agenthub.adapters.inbound.cli.output import Failure, complain, say, say_json
from agenthub.adapters.inbound.cli.remote import Remote, segment
from agenthub.adapters.inbound.cli.session import Session, remote_of

BUDGETS = "/api/budgets"
DENIED = 403

Found = dict[str, Any]


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(doctor)


def doctor(
    context: typer.Context,
    server: Annotated[str | None, typer.Argument(help="Only this server.")] = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong, and what to do about it. Exit code 1 when something is."""
    session: Session = context.obj
    own = [_setting_finding(fault) for fault in session.setting_faults()]
    try:
        with remote_of(context) as hub:
            names = [server] if server else [one["name"] for one in hub.items(SERVERS)]
            found = [_examine(hub, name) for name in names]
            own += _policy_findings(hub)
            own += _budget_findings(hub)
            address = hub.address
    except Failure:
        for one in own:
            complain(one["problem"])
        raise
    sick = [one for one in found if one["findings"]]
    if as_json:
        say_json({"hub": address, "findings": own, "servers": found})
    else:
        say(f"The hub answers at {address}. {len(found)} servers, {len(sick)} with findings.")
        _say_findings(own)
        for one in found:
            _say_examined(one)
    if sick or own:
        raise typer.Exit(1)


def breaker_findings(name: str, gate: dict[str, Any]) -> list[Found]:
    """Judge a server's breakers: those that let no call through are worth a word."""
    forced = breakers_of(gate, "forced_open")
    opened = breakers_of(gate, "open")
    found: list[Found] = []
    if forced:
        advice = f"Let calls through again: agenthub gate reset {name}"
        found.append(
            _finding(
                f"Its breaker is forced open for {_all(forced)}: no call gets through.", advice
            )
        )
    if opened:
        advice = f"It is tried again by itself; to try at once: agenthub gate reset {name}"
        problem = f"Its breaker is open for {_all(opened)}: too many calls failed or were slow."
        found.append(_finding(problem, advice))
    return found


def budget_finding(budget: dict[str, Any]) -> Found | None:
    """Judge a budget: one that is used up and refuses calls is worth a word."""
    if not budget["hard_stop"] or budget["remaining_nano_usd"] > 0:
        return None
    whose = f"{budget['scope']} {budget['subject']}".rstrip()
    ends = budget["period_end"]
    until = f" until {ends}" if ends else ""
    return _finding(
        f"The budget of the {whose} is used up ({budget['spent_usd']} of "
        f"{budget['limit_usd']} USD): what costs is refused{until}.",
        f"Raise it: agenthub budget set {budget['id']} --limit USD",
    )


def _examine(hub: Remote, name: str) -> dict[str, Any]:
    one = hub.get(f"{SERVERS}/{segment(name)}/diagnosis")
    name = one["name"]
    findings = [*one["findings"]]
    findings += breaker_findings(name, hub.get(f"{GATES}/{segment(name)}"))
    findings += _fallback_findings(hub, name)
    return {**one, "findings": findings}


def _fallback_findings(hub: Remote, name: str) -> list[Found]:
    """Look for fallbacks that name what is not there. Each tool's policy is its own."""
    own = hub.get(place_of(name))["effective"]["fallback"]
    found = _astray(hub, name, None, own)
    for tool in _tools(hub, name) or ():
        fallback = hub.get(place_of(name, tool))["effective"]["fallback"]
        if fallback != own:
            found += _astray(hub, name, tool, fallback)
    return found


def _astray(
    hub: Remote, name: str, tool: str | None, fallback: dict[str, Any] | None
) -> list[Found]:
    wanted = (fallback or {}).get("tool")
    if wanted is None:
        return []
    other = (fallback or {}).get("server") or name
    tools = _tools(hub, other)
    if tools is not None and wanted in tools:
        return []
    missing = f"server {other}, which is not there" if tools is None else f"{other}'s tool {wanted}"
    lack = "" if tools is None else ", which it does not offer"
    place = f"{name} {tool}" if tool else name
    return [
        _finding(
            f"The fallback of {place} names {missing}{lack}.",
            f"Name another: agenthub policy set {place} fallback.server=... fallback.tool=..., "
            f"or none: agenthub policy set {place} fallback=none",
        )
    ]


def _tools(hub: Remote, name: str) -> list[str] | None:
    """Name a server's tools; None: there is no such server."""
    try:
        return [one["name"] for one in hub.items(f"{SERVERS}/{segment(name)}/tools")]
    except Failure as failure:
        if (failure.problem or {}).get("status") == 404:
            return None
        raise


def _policy_findings(hub: Remote) -> list[Found]:
    advice = "Mend its name in agenthub.toml, or add the server."
    return [_finding(warning, advice) for warning in hub.get(place_of())["warnings"]]


def _budget_findings(hub: Remote) -> list[Found]:
    try:
        budgets = hub.items(BUDGETS)
    except Failure as failure:
        if (failure.problem or {}).get("status") == DENIED:
            return []
        raise
    return [finding for budget in budgets if (finding := budget_finding(budget)) is not None]


def _setting_finding(fault: str) -> Found:
    # One fault names the file itself.
    words = fault if fault.startswith("agenthub.toml") else f"agenthub.toml: {fault}"
    return _finding(words, "Mend it: the hub would not start with it.")


def _finding(problem: str, advice: str) -> Found:
    return {"problem": problem, "advice": advice}


def _all(names: list[str]) -> str:
    return ", ".join(names)


def _say_examined(one: dict[str, Any]) -> None:
    say(f"\n{one['name']}: {one['status']}")
    _say_findings(one["findings"])
    if one["findings"] and one["output"]:
        say("  last output:")
        for line in one["output"][-10:]:
            say(f"    {line}")


def _say_findings(findings: list[Found]) -> None:
    for finding in findings:
        say(f"  - {finding['problem']}")
        if finding.get("advice"):
            say(f"    {finding['advice']}")
