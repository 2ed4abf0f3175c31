"""How the hub learns that a child of its has ended, on any event loop."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable


def on_exit(process: subprocess.Popen[bytes], tell: Callable[[int], None]) -> None:
    """Reap the process when it ends, then call `tell` with its exit code, in the loop.

    By a pidfd where there are such, else by a thread that waits.
    """
    loop = asyncio.get_running_loop()
    if hasattr(os, "pidfd_open"):
        _by_descriptor(loop, process, tell)
    else:
        threading.Thread(target=_by_thread, args=(loop, process, tell), daemon=True).start()


def _by_descriptor(
    loop: asyncio.AbstractEventLoop, process: subprocess.Popen[bytes], tell: Callable[[int], None]
) -> None:
    descriptor = os.pidfd_open(process.pid)

    def ended() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        tell(process.wait())

    loop.add_reader(descriptor, ended)


def _by_thread(
    loop: asyncio.AbstractEventLoop, process: subprocess.Popen[bytes], tell: Callable[[int], None]
) -> None:
    code = process.wait()
    if not loop.is_closed():
        loop.call_soon_threadsafe(tell, code)
