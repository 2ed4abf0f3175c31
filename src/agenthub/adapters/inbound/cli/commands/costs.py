"""agenthub cost and agenthub budget: what was used, and limits of what may be spent."""

from typing import Annotated, Any

import typer

from agenthub.adapters.inbound.cli.commands.servers import Json
from agenthub.adapters.inbound.cli.output import WrongUse, complain, say, say_json, table
from agenthub.adapters.inbound.cli.remote import segment
from agenthub.adapters.inbound.cli.session import remote_of

BUDGETS = "/api/budgets"
SUMMARY = "/api/costs/summary"

BudgetId = Annotated[str, typer.Argument(metavar="ID")]
HardStop = Annotated[
    bool | None,
    typer.Option("--hard-stop/--soft", help="Whether calls that would pass it are refused."),
]
Alerts = Annotated[
    list[int] | None, typer.Option("--alert", help="A percent to be told of; several times.")
]
EndsAt = Annotated[str | None, typer.Option(help="When it ends (RFC 3339).")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(cost)
    budgets = typer.Typer(help="Limits of what may be spent.", no_args_is_help=True)
    for command in (ls, add, set_, rm):
        budgets.command(name=command.__name__.rstrip("_"))(command)
    app.add_typer(budgets, name="budget")


def cost(
    context: typer.Context,
    by: Annotated[str, typer.Option(help="day, server, tool, model or key.")] = "day",
    since: Annotated[str | None, typer.Option(help="A date (UTC) or a moment.")] = None,
    until: Annotated[str | None, typer.Option(help="The same; itself not included.")] = None,
    as_json: Json = False,
) -> None:
    """Sum up what was used and what it cost."""
    with remote_of(context) as hub:
        summary = hub.get(SUMMARY, by=by, since=since, until=until)
    if as_json:
        say_json(summary)
        return
    rows = [cost_row(row, row["key"] or "-") for row in summary["rows"]]
    heads = (by.upper(), "TOOL CALLS", "MODEL CALLS", "ERRORS", "REFUSED", "TOKENS", "USD", "NOTE")
    table(heads, [*rows, cost_row(summary["total"], "total")])


def ls(context: typer.Context, as_json: Json = False) -> None:
    """List the budgets with what they have used."""
    with remote_of(context) as hub:
        budgets = hub.items(BUDGETS)
    if as_json:
        say_json(budgets)
        return
    rows = [
        [
            budget["id"],
            f"{budget['scope']} {budget['subject']}".rstrip(),
            budget["period"],
            budget["limit_usd"],
            budget["spent_usd"],
            budget["remaining_usd"],
            "hard" if budget["hard_stop"] else "soft",
        ]
        for budget in budgets
    ]
    table(("ID", "FOR", "PERIOD", "LIMIT", "SPENT", "REMAINING", "STOP"), rows)


def add(
    context: typer.Context,
    limit_usd: Annotated[str, typer.Argument(metavar="USD", help="Such as 12.50.")],
    key: Annotated[str | None, typer.Option(help="For the key of this id.")] = None,
    group: Annotated[str | None, typer.Option(help="For this group.")] = None,
    server: Annotated[str | None, typer.Option(help="For this server.")] = None,
    period: Annotated[str, typer.Option(help="day, month or total.")] = "month",
    hard_stop: HardStop = None,
    alerts: Alerts = None,
    ends_at: EndsAt = None,
    as_json: Json = False,
) -> None:
    """Make a budget; without --key, --group or --server it is the hub's."""
    scope, subject = subject_of({"key": key, "group": group, "server": server})
    body = {"scope": scope, "subject": subject, "limit_usd": limit_usd, "period": period}
    with remote_of(context) as hub:
        budget = hub.post(BUDGETS, body | _given(hard_stop, alerts, ends_at))
    if as_json:
        say_json(budget)
        return
    say(budget["id"])
    complain(budget_words(budget))


def set_(
    context: typer.Context,
    budget_id: BudgetId,
    limit_usd: Annotated[str | None, typer.Option("--limit", help="Dollars.")] = None,
    hard_stop: HardStop = None,
    alerts: Alerts = None,
    ends_at: EndsAt = None,
    as_json: Json = False,
) -> None:
    """Change a budget; what is not named stays."""
    body = _given(hard_stop, alerts, ends_at)
    if limit_usd is not None:
        body["limit_usd"] = limit_usd
    with remote_of(context) as hub:
        budget = hub.patch(f"{BUDGETS}/{segment(budget_id)}", body)
    if as_json:
        say_json(budget)
        return
    say(f"{budget['spent_usd']} of {budget['limit_usd']} USD are spent.")


def rm(context: typer.Context, budget_id: BudgetId) -> None:
    """Remove a budget."""
    with remote_of(context) as hub:
        hub.delete(f"{BUDGETS}/{segment(budget_id)}")
    say(f"{budget_id} is removed.")


def budget_words(budget: dict[str, Any]) -> str:
    """Say what a budget is for, its limit, and what is spent of it already."""
    whose = f"{budget['scope']} {budget['subject']}".rstrip()
    per = {"day": " a day", "month": " a month"}.get(budget["period"], " in all")
    end = "calls beyond it are refused" if budget["hard_stop"] else "calls beyond it go on"
    return (
        f"A budget of the {whose}: {budget['limit_usd']} USD{per}, "
        f"{budget['spent_usd']} USD of it spent already; {end}."
    )


def subject_of(named: dict[str, str | None]) -> tuple[str, str]:
    """Give scope and subject of a new budget. Raises WrongUse where several are named."""
    given = [(scope, subject) for scope, subject in named.items() if subject is not None]
    if len(given) > 1:
        raise WrongUse("Give one of --key, --group and --server.")
    return given[0] if given else ("hub", "")


def _given(hard_stop: bool | None, alerts: list[int] | None, ends_at: str | None) -> dict[str, Any]:
    fields = {"hard_stop": hard_stop, "alerts": alerts, "ends_at": ends_at}
    return {name: value for name, value in fields.items() if value is not None}


def cost_row(row: dict[str, Any], name: str) -> list[str]:
    """Give the cells of one row of a summary."""
    notes = [f"{row[what]} {what}" for what in ("unpriced", "estimated") if row[what]]
    counts = (row["tool_calls"], row["model_calls"], row["errors"], row["refused"])
    tokens = row["prompt_tokens"] + row["completion_tokens"]
    return [name, *map(str, counts), str(tokens), row["cost_usd"], ", ".join(notes)]
