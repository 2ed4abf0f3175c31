"""A program of its own: when the hub is gone, however it went, it ends the hub's children.

python -I -S orphans.py MARK

It reads `+PGID` and `-PGID` lines from its stdin, whose other end only the hub holds. At the end
of that stream it kills the groups that are left and, on Linux, every process that bears the mark
in its environment, wherever it has moved. Standard library only, and little of it.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "AGENTHUB_CHILD_OF"
_PROC = Path("/proc")
_QUIET_LOOKS = 3
"""So often nothing must be found: a child that is just being started bears no mark yet."""
_LOOKS = 40
_PAUSE_S = 0.05


def marked(mark: str) -> Iterator[int]:
    """Find the processes started with `mark`, or with a mark that begins with it and a dot."""
    exact = f"{VARIABLE}={mark}".encode()
    begin = exact + b"."
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue
        if any(one == exact or one.startswith(begin) for one in environ.split(b"\0")):
            yield int(entry.name)


def kill_group(group: int, number: int = signal.SIGKILL) -> bool:
    """Signal a process group; False when nobody is left in it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def kill_marked(mark: str) -> int:
    """Kill every process that bears the mark; give how many there were."""
    count = 0
    for process in marked(mark):
        try:
            os.kill(process, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
        count += 1
    return count


def bury(groups: set[int], mark: str) -> None:
    """Kill what is left, and look again until nothing new has come for a while."""
    quiet = 0
    for _ in range(_LOOKS):
        killed = sum(kill_group(group) for group in groups) + kill_marked(mark)
        groups.clear()
        quiet = 0 if killed else quiet + 1
        if quiet >= _QUIET_LOOKS:
            return
        time.sleep(_PAUSE_S)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        group = int(line[1:])
        if line[:1] == b"+":
            groups.add(group)
        else:
            groups.discard(group)
    bury(groups, sys.argv[1])


if __name__ == "__main__":
    main()
