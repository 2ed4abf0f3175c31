"""The `agenthub` command."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from agenthub.adapters.inbound.cli.commands import (
    calls,
    costs,
    definitions,
    doctor,
    gates,
    groups,
    inbox,
    instances,
    keys,
    models,
    notify,
    policies,
    rules,
    servers,
    top,
)
from agenthub.adapters.inbound.cli.local import Local, ServeOptions
from agenthub.adapters.inbound.cli.output import Failure, WrongUse, exit_code_of, say
from agenthub.adapters.inbound.cli.remote import Remote
from agenthub.adapters.inbound.cli.session import Session

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where the hub keeps its data.", file_okay=False)
]


def run(local: Local, args: list[str] | None = None) -> int:
    """Run one command line and give its exit code: 0 done, 1 failed, 2 wrong use."""
    return execute(_build(local), args)


def execute(app: typer.Typer, args: list[str] | None) -> int:
    """Run a command line of these commands."""
    try:
        code: Any = app(args, standalone_mode=False)
    except (Failure, WrongUse) as error:
        return exit_code_of(error)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        return 1
    except Exception as error:
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        return 2
    return code if isinstance(code, int) else 0


def _build(local: Local) -> typer.Typer:
    app = typer.Typer(
        help="AgentHub: every MCP server behind one endpoint.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root(local))
    _add_local(app, local)
    servers.add_to(app)
    doctor.add_to(app)
    calls.add_to(app)
    top.add_to(app)
    costs.add_to(app)
    models.add_to(app)
    app.add_typer(definitions.build(), name="definitions")
    app.add_typer(gates.build(), name="gate")
    app.add_typer(inbox.build(), name="inbox")
    app.add_typer(instances.build(), name="instance")
    app.add_typer(keys.build(), name="key")
    app.add_typer(policies.build(), name="policy")
    app.add_typer(rules.build(), name="rules")
    app.add_typer(notify.build(), name="notify")
    app.add_typer(groups.build(), name="group")
    return app


def _root(local: Local) -> Callable[..., None]:
    def say_version(wanted: bool) -> None:
        if wanted:
            say(local.version)
            raise typer.Exit(0)

    def root(
        context: typer.Context,
        url: Annotated[
            str | None, typer.Option(envvar="AGENTHUB_URL", help="The hub's address.")
        ] = None,
        token: Annotated[
            str | None, typer.Option(help="A token; default: the owner token.")
        ] = None,
        data_dir: DataDir = None,
        version: Annotated[
            bool, typer.Option("--version", is_eager=True, callback=say_version, help="Say it.")
        ] = False,
    ) -> None:
        """Common options."""
        _ = version
        context.obj = Session(
            connect=lambda: _connect(local, url, token, data_dir),
            data_dir=data_dir,
            setting_faults=lambda: local.setting_faults(data_dir),
            now=local.now,
        )

    return root


def _connect(local: Local, url: str | None, token: str | None, data_dir: Path | None) -> Remote:
    secret = token or os.environ.get("AGENTHUB_TOKEN") or _owner_token(local, data_dir)
    return Remote((url or local.address(data_dir)).rstrip("/"), secret)


def _owner_token(local: Local, data_dir: Path | None) -> str:
    try:
        return local.owner_token(data_dir)
    except OSError as error:
        raise Failure(
            "There is no owner token yet: start the hub once with 'agenthub serve', "
            "or give --token or --data-dir."
        ) from error


def _add_local(app: typer.Typer, local: Local) -> None:
    @app.command()
    def serve(
        context: typer.Context,
        host: Annotated[str | None, typer.Option(help="Default: 127.0.0.1.")] = None,
        port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: 8000.")] = None,
        data_dir: DataDir = None,
        demo: Annotated[
            bool, typer.Option("--demo", help="Register the demo server on the first start.")
        ] = False,
    ) -> None:
        """Run the hub until it is stopped."""
        session: Session = context.obj
        chosen = data_dir or session.data_dir
        raise typer.Exit(local.serve(ServeOptions(host, port, chosen, demo)))

    @app.command()
    def token(context: typer.Context, data_dir: DataDir = None) -> None:
        """Print the owner token."""
        session: Session = context.obj
        say(_owner_token(local, data_dir or session.data_dir))

    _ = (serve, token)
