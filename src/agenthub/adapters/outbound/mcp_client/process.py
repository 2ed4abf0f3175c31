"""One stdio server as a process of the hub's own: started bare, fed, and ended with its kin."""

import asyncio
import errno
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from agenthub.adapters.outbound.mcp_client.exits import on_exit
from agenthub.adapters.outbound.mcp_client.guardian import Guardian
from agenthub.adapters.outbound.mcp_client.orphans import VARIABLE, kill_group, kill_marked
from agenthub.adapters.outbound.mcp_client.output import OutputTail
from agenthub.adapters.outbound.mcp_client.pipes import Pipes
from agenthub.domain.entities.endpoints import StdioTransport
from agenthub.domain.exceptions import HubError, UnavailableError

_log = logging.getLogger(__name__)

INHERITED = (
    *("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"),
)
"""All that a server gets of the hub's environment: what the SDKs' stdio clients give, the language,
and where this machine keeps its certificates. Proxy settings may hold passwords and are not given.
"""

GRACE_S = 2.0
"""How long a server may take after its stdin is closed, and again after SIGTERM."""


class StartError(UnavailableError):
    """The program could not be started; nothing ran."""

    code = "server_not_started"


class ServerProcess:
    """A running server. Made by `open_process`."""

    def __init__(self, server: str, process: subprocess.Popen[bytes], pipes: Pipes) -> None:
        self.pid = process.pid
        self._server = server
        self._process = process
        self._pipes = pipes
        self._gone = asyncio.Event()
        self._ends: list[asyncio.BaseTransport] = []
        on_exit(process, self._exited)

    async def connect(self) -> None:
        """Take the pipes into the loop."""
        loop = asyncio.get_running_loop()
        process, pipes = self._process, self._pipes
        assert process.stdin is not None
        stdin, _ = await loop.connect_write_pipe(pipes.stdin, process.stdin)
        self._stdin = stdin
        self._ends.append(stdin)
        for factory, pipe in ((pipes.stdout, process.stdout), (pipes.stderr, process.stderr)):
            assert pipe is not None
            end, _ = await loop.connect_read_pipe(factory, pipe)
            self._ends.append(end)

    async def send(self, message: bytes) -> None:
        """Write one message, as one line. Waits while the server does not read.

        Raises UnavailableError when it is gone.
        """
        if not self._pipes.writable.is_set():
            await self._pipes.writable.wait()
        if self._stdin.is_closing():
            raise UnavailableError(
                f"The process of server {self._server!r} has ended.", code="server_ended"
            )
        self._stdin.write(message.replace(b"\n", b" ") + b"\n")

    async def stop(self) -> None:
        """Close stdin, then SIGTERM, then SIGKILL; the last, for all its kin, in any case.

        A server that broke a bound is killed at once, lest it goes on with that.
        """
        self._pipes.lose(closed(self._server))
        try:
            if self._ends:
                self._ends[0].close()
            if not self._pipes.is_broken and not await self._is_gone_within(GRACE_S):
                kill_group(self.pid, signal.SIGTERM)
                await self._is_gone_within(GRACE_S)
        finally:
            kill_group(self.pid)
            for end in self._ends:
                end.close()
            own = (self._process.stdin, self._process.stdout, self._process.stderr)
            for pipe in own[len(self._ends) :]:
                if pipe is not None:
                    pipe.close()
        await self._is_gone_within(GRACE_S)

    def _exited(self, code: int) -> None:
        self._gone.set()
        self._pipes.exited(code)

    async def _is_gone_within(self, patience_s: float) -> bool:
        try:
            async with asyncio.timeout(patience_s):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def open_process(
    command: StdioTransport,
    *,
    server: str,
    guardian: Guardian,
    output: OutputTail,
    on_line: Callable[[bytes], None],
    on_lost: Callable[[HubError], None],
) -> AsyncGenerator[ServerProcess]:
    """Run the program; leaving ends it and everything it started. Raises StartError."""
    program = find_program(command)
    mark = guardian.mark()
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    # never the values of env or args: both may hold secrets
    _log.info(
        "starting a server",
        extra={"server": server, "program": program, "arguments": len(command.args)},
    )
    pipes = Pipes(server=server, output=output, on_line=on_line, on_lost=on_lost)
    try:
        guardian.ready()
        child = _start(program, command, {**inherited, **command.env, **mark})
    except (OSError, ValueError) as error:
        raise _start_error(command, program, error) from error
    process = ServerProcess(server, child, pipes)
    guardian.watch(process.pid)
    try:
        await process.connect()
        yield process
    finally:
        try:
            await process.stop()
        finally:
            kill_group(process.pid)
            guardian.forget(process.pid)
            output.flush()
            await asyncio.to_thread(kill_marked, mark[VARIABLE])
            _log.info("server ended", extra={"server": server, "pid": process.pid})


def closed(server: str) -> UnavailableError:
    return UnavailableError(
        f"The hub has closed the connection to {server!r}.", code="server_closed"
    )


def find_program(command: StdioTransport) -> str:
    """Find what is to be run, and say precisely why it cannot be. Raises StartError."""
    name = command.command
    if command.cwd is not None and not Path(command.cwd).is_dir():
        raise StartError(f"The working directory {command.cwd!r} does not exist.")
    if "/" not in name:
        found = shutil.which(name)
        if found is None:
            raise StartError(
                f"The command {name!r} was not found on PATH; install it, or give the full path"
                " of the program."
            )
        return found
    path = Path(command.cwd or "", name).absolute()
    if not path.is_file():
        raise StartError(f"There is no program at {name!r}; check the path.")
    if not os.access(path, os.X_OK):
        raise StartError(f"The file {name!r} is not executable; `chmod +x` may help.")
    return str(path)


def _start(program: str, command: StdioTransport, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start it in a session of its own, with nothing of the hub's open in it.

    Not by the loop: uvloop leaves copies of the pipes open in the child, so that a server which
    closes its stdout would not be noticed, and has /bin/sh run what is no program.
    """
    return subprocess.Popen(  # noqa: S603 (the point of it: an admin registered the program)
        (program, *command.args),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=env,
        cwd=command.cwd,
        start_new_session=True,
    )


def _start_error(command: StdioTransport, program: str, error: OSError | ValueError) -> StartError:
    if isinstance(error, OSError):
        match error.errno:
            case errno.ENOEXEC:
                why = "it is no program of this machine, and names no interpreter (#!)"
            case errno.ENOENT:
                why = "the interpreter that its first line names does not exist"
            case errno.E2BIG:
                why = "its arguments and variables are too long"
            case _:
                why = error.strerror or type(error).__name__
    else:
        why = "its arguments hold what cannot be handed to a program"
    return StartError(f"The command {command.command!r} ({program}) could not be started: {why}.")
