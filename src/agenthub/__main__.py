"""`agenthub` and `python -m agenthub`."""

import gc
import sys
from importlib.metadata import version

from agenthub.adapters.inbound.cli.app import run
from agenthub.adapters.inbound.cli.local import Local, ServeOptions
from agenthub.adapters.outbound.clock.system import SystemClock
from agenthub.config import beside, data_folder


def main() -> None:
    """Run the command line and exit with its code."""
    local = Local(
        serve=_serve,
        address=lambda folder: data_folder.read_address(beside.folder_of(folder)),
        owner_token=beside.owner_token_of,
        setting_faults=beside.setting_faults,
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


if __name__ == "__main__":
    main()
