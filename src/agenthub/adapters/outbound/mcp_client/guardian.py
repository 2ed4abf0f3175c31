"""No child outlives the hub: marks, a process that waits for the hub's end, a sweep at the start.

Three nets, each for what the one before lets through: the hub stops its children itself; a small
process notices the hub's death (`orphans.py`) and kills them; the next start on the same data
folder kills what even that missed. Where there is no /proc, the marks cannot be seen and process
groups alone are killed.
"""

import asyncio
import itertools
import json
import logging
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from agenthub.adapters.outbound.mcp_client.exits import on_exit
from agenthub.adapters.outbound.mcp_client.orphans import VARIABLE, kill_marked
from agenthub.domain.ports.outbound.clock import Chance

_log = logging.getLogger(__name__)

_PROGRAM = Path(__file__).with_name("orphans.py")
FOLDER = "instances"
MARK_BYTES = 16
END_TIMEOUT_S = 3.0


class Guardian:
    """Marks and watches the processes of one hub. A resident; its process starts with the first
    child.
    """

    def __init__(self, *, data_dir: Path, chance: Chance) -> None:
        self._folder = data_dir / FOLDER
        self._chance = chance
        self._serials = itertools.count(1)
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._gone = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.instance = self._chance.token(MARK_BYTES)
        await asyncio.to_thread(self._begin)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._dismiss()
        finally:
            self._record.unlink(missing_ok=True)

    @property
    def _record(self) -> Path:
        return self._folder / f"{self.instance}.json"

    def ready(self) -> None:
        """Have the waiting process there. Call before a child is started. Raises OSError."""
        if self._process is not None and not self._gone.is_set():
            return
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = _start(self.instance)
        self._gone = asyncio.Event()
        on_exit(self._process, lambda _: self._gone.set())
        for group in self._groups:
            self._tell(f"+{group}")

    def mark(self) -> dict[str, str]:
        """Make the environment of one new child: the hub's mark, with a number of its own."""
        return {VARIABLE: f"{self.instance}.{next(self._serials)}"}

    def watch(self, group: int) -> None:
        """From now on the group dies with the hub."""
        self._groups.add(group)
        self._tell(f"+{group}")

    def forget(self, group: int) -> None:
        """The group is gone; its number may come to mean another."""
        self._groups.discard(group)
        self._tell(f"-{group}")

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.write(line.encode() + b"\n")
            except OSError:  # it was killed; the next child gets a new one, which is told all
                _log.warning("the process that guards the children is gone")

    async def _dismiss(self) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await self._gone.wait()
        except TimeoutError:
            process.kill()
            await self._gone.wait()

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        sweep(self._folder)
        me = psutil.Process()
        record = {"pid": me.pid, "started": me.create_time()}
        part = self._record.with_suffix(".part")
        part.write_text(json.dumps(record), "utf-8")
        part.replace(self._record)


def _start(instance: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 (our own program)
        (sys.executable, "-I", "-S", str(_PROGRAM), instance),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env={},
        cwd="/",
        start_new_session=True,
    )


def sweep(folder: Path) -> int:
    """Kill the children of hubs that used this folder and are gone; give how many there were."""
    killed = 0
    for record in folder.glob("*.json"):
        if _lives(record):
            continue
        killed += kill_marked(record.stem)
        record.unlink(missing_ok=True)
    if killed:
        _log.warning("processes of a former hub were killed", extra={"count": killed})
    return killed


def _lives(record: Path) -> bool:
    try:
        said: dict[str, Any] = json.loads(record.read_text("utf-8"))
        process = psutil.Process(int(said["pid"]))
        is_same = abs(process.create_time() - float(said["started"])) < 1.0
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return False
