"""agenthub rules: standing answers, which calls need a person and which models servers may ask."""

import json
from typing import Annotated, Any

import typer

from agenthub.adapters.inbound.cli.commands.servers import Json
from agenthub.adapters.inbound.cli.inbox.questions import NOT_FOUND, is_refusal
from agenthub.adapters.inbound.cli.inbox.words import short
from agenthub.adapters.inbound.cli.output import Failure, WrongUse, complain, say, say_json, table
from agenthub.adapters.inbound.cli.remote import Remote, segment
from agenthub.adapters.inbound.cli.session import remote_of

POLICIES = "/api/policies"
SAMPLING = "/api/sampling/rules"
ACTIONS = ("ask", "allow", "deny")
LONGEST_NAME = 64
"""Of a name that is made up; given ones may be longer."""

Pattern = Annotated[str, typer.Option(help="A name, or a pattern with * and ?.")]
Condition = Annotated[
    list[str] | None,
    typer.Option(
        "--argument",
        metavar="'PATH COMPARISON VALUE'",
        help="equals, not_equals, matches, not_matches, more_than, less_than or exists, as in "
        "'to not_matches *@example.com'. May be given several times.",
    ),
]


def build() -> typer.Typer:
    """Make the command group."""
    app = typer.Typer(
        help="Standing answers: which calls need a person, which models servers may ask alone.",
        no_args_is_help=True,
    )
    for command in (ls, add, rm):
        app.command()(command)
    app.command("add-sampling")(add_sampling)
    return app


def ls(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Revoked ones too.")] = False,
    as_json: Json = False,
) -> None:
    """List the rules for calls, and those for models."""
    query = {"revoked": "true"} if every else {}
    with remote_of(context) as hub:
        policies = hub.items(POLICIES, **query)
        sampling = hub.items(SAMPLING, **query)
    if as_json:
        say_json({"policies": policies, "sampling": sampling})
        return
    if not policies and not sampling:
        say("There are no rules: no call waits for a person, and no server asks a model alone.")
    if policies:
        heads = ("ID", "ACTION", "SERVER", "TOOL", "PRIORITY", "STATE", "BY", "WHEN")
        table(heads, [_policy_row(one) for one in policies])
    if sampling:
        heads = ("ID", "SERVER", "MODEL", "USD A DAY", "TOKENS", "STATE", "BY")
        table(heads, [_sampling_row(one) for one in sampling])


def add(
    context: typer.Context,
    action: Annotated[str, typer.Argument(help="ask, allow or deny.")],
    name: Annotated[str, typer.Option(help="What it is for; shown to who is asked.")] = "",
    server: Pattern = "",
    tool: Pattern = "",
    hint: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=true|false", help="As destructiveHint=true, of the tool."),
    ] = None,
    argument: Condition = None,
    caller: Annotated[list[str] | None, typer.Option(help="owner, or a key's id.")] = None,
    priority: Annotated[int, typer.Option(help="The highest that fits decides.")] = 0,
    as_json: Json = False,
) -> None:
    """Have calls that fit wait for a person, pass, or be refused."""
    if action not in ACTIONS:
        raise WrongUse(f"A rule says one of {', '.join(ACTIONS)}.")
    body = {
        "name": name or _name(action, server, tool),
        "action": action,
        "server": server,
        "tool": tool,
        "annotations": dict(_hint(one) for one in hint or ()),
        "arguments": [condition_of(one) for one in argument or ()],
        "callers": caller or [],
        "priority": priority,
    }
    with remote_of(context) as hub:
        rule = hub.post(POLICIES, body)
    _say_made(rule, as_json=as_json)


def add_sampling(
    context: typer.Context,
    server: Annotated[str, typer.Argument(help="A name, or a pattern with * and ?.")],
    model: Annotated[str, typer.Argument(help="The same.")],
    daily_usd: Annotated[
        str, typer.Option("--daily-usd", help="What its calls may cost a day, as 0.50.")
    ],
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer.")] = None,
    as_json: Json = False,
) -> None:
    """Let a server ask a model without a person, up to an amount a day."""
    body: dict[str, Any] = {"server": server, "model": model, "daily_usd": daily_usd}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    with remote_of(context) as hub:
        rule = hub.post(SAMPLING, body)
    _say_made(rule, as_json=as_json)


def rm(context: typer.Context, rule_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Revoke a rule at once; it is kept for the record."""
    with remote_of(context) as hub:
        if not any(_is_revoked(hub, path, rule_id) for path in (POLICIES, SAMPLING)):
            raise Failure(f"There is no rule {rule_id!r}; see 'agenthub rules ls'.")
    say(f"{rule_id} is revoked.")


def condition_of(words: str) -> dict[str, Any]:
    """Read `PATH COMPARISON VALUE`; a value that is no JSON is a text. Raises WrongUse."""
    path, _, rest = words.strip().partition(" ")
    comparison, _, text = rest.strip().partition(" ")
    if not comparison:
        raise WrongUse(f"{words!r} is not of the form 'PATH COMPARISON VALUE'.")
    if comparison == "exists" and not text:
        text = "true"
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return {"path": path, "comparison": comparison, "value": value}


def _hint(word: str) -> tuple[str, bool]:
    name, _, value = word.partition("=")
    if value not in ("true", "false"):
        raise WrongUse(f"{word!r} is not of the form NAME=true or NAME=false.")
    return name, value == "true"


def _name(action: str, server: str, tool: str) -> str:
    return short(f"{action} {server or '*'}/{tool or '*'}", LONGEST_NAME)


def _is_revoked(hub: Remote, path: str, rule_id: str) -> bool:
    try:
        hub.delete(f"{path}/{segment(rule_id)}")
    except Failure as failure:
        if not is_refusal(failure, NOT_FOUND):
            raise
        return False
    return True


def _say_made(rule: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(rule)
        return
    say(rule["id"])
    complain(f"It holds from now on; 'agenthub rules rm {rule['id']}' revokes it.")


def _policy_row(rule: dict[str, Any]) -> list[str]:
    known = [rule["id"], rule["action"], rule["server"] or "*", rule["tool"] or "*"]
    return [*known, str(rule["priority"]), _state(rule), rule["created_by"], _when(rule)]


def _sampling_row(rule: dict[str, Any]) -> list[str]:
    tokens = rule["max_tokens"]
    known = [rule["id"], rule["server"] or "*", rule["model"] or "*", rule["daily_usd"]]
    return [*known, "any" if tokens is None else str(tokens), _state(rule), rule["created_by"]]


def _state(rule: dict[str, Any]) -> str:
    if rule["revoked_at"]:
        return f"revoked by {rule['revoked_by']}"
    return "on" if rule.get("enabled", True) else "off"


def _when(rule: dict[str, Any]) -> str:
    """Say in short under what conditions a rule fits."""
    parts = [f"{name}={json.dumps(hint)}" for name, hint in rule["annotations"].items()]
    for one in rule["arguments"]:
        value = json.dumps(one["value"], ensure_ascii=False)
        parts.append(f"{one['path']} {one['comparison']} {value}")
    if rule["callers"]:
        parts.append(f"caller {', '.join(rule['callers'])}")
    if rule["conversation"]:
        parts.append("in one conversation")
    return "; ".join(parts) or "always"
