"""`agenthub` and `python -m agenthub`."""

import gc
import sys
from importlib.metadata import version
from pathlib import Path

from agenthub.adapters.inbound.cli.app import run
from agenthub.adapters.inbound.cli.local import Local, ServeOptions
from agenthub.adapters.outbound.clock.system import SystemClock
from agenthub.config import data_folder
from agenthub.config.settings import load_settings


def main() -> None:
    """Run the command line and exit with its code."""
    local = Local(
        serve=_serve,
        address=lambda folder: data_folder.read_address(_folder(folder)),
        owner_token=_owner_token,
        version=version("agenthub"),
        now=SystemClock().now,
    )
    sys.exit(run(local))


def _serve(options: ServeOptions) -> int:
    # Imports make no garbage worth a collection: without them the start is a fifth faster, and
    # what was imported need never be looked at again.
    gc.disable()
    # The other commands need nothing of the server, and shall start fast.
    from agenthub.serving import serve  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    return serve(options)


def _folder(given: Path | None) -> Path:
    return load_settings(data_dir=given).data_dir


def _owner_token(given: Path | None) -> str:
    settings = load_settings(data_dir=given)
    if settings.owner_token is not None:
        return settings.owner_token
    return (settings.data_dir / data_folder.TOKEN_FILE).read_text("utf-8").strip()


if __name__ == "__main__":
    main()
