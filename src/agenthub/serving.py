"""Running the hub as a process: socket, signals, the first start, what a person reads."""

import asyncio
import contextlib
import ctypes
import logging
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Generator
from types import FrameType

import uvicorn
import uvloop

from agenthub.adapters.inbound.cli.local import ServeOptions
from agenthub.adapters.inbound.http.protocol import (
    MAX_SOCKET_MESSAGE_BYTES,
    HeaderBoundProtocol,
)
from agenthub.config import data_folder
from agenthub.config.banner import banner, short_banner
from agenthub.config.logging import set_up_logging
from agenthub.config.settings import SETTINGS_ERRORS, Settings, faults_of, load_settings
from agenthub.domain.entities.endpoints import StdioTransport
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import ConflictError, HubError
from agenthub.domain.services.endpoints import EndpointDraft, EndpointService
from agenthub.main import AgentHub

GRACE_S = 3
"""How long running requests may go on after the signal to stop."""

KEEP_ALIVE_S = 75
BACKLOG = 2048

_log = logging.getLogger(__name__)


def serve(options: ServeOptions) -> int:
    """Run the hub until it is told to stop. Gives 0; 1 when it cannot start; 2 for settings."""
    try:
        settings = load_settings(host=options.host, port=options.port, data_dir=options.data_dir)
    except SETTINGS_ERRORS as error:
        _complain(*faults_of(error))
        return 2
    set_up_logging(settings.log.format, settings.log.level)
    with contextlib.ExitStack() as held:
        try:
            data_folder.prepare(settings.data_dir)
            held.enter_context(data_folder.locked(settings.data_dir))
            token = data_folder.owner_token(settings.data_dir, settings.owner_token)
            listener = _listener(settings)
        except data_folder.FolderInUseError as error:
            _complain(str(error))
            return 1
        except OSError as error:
            _complain(_start_fault(settings, error))
            return 1
        try:
            uvloop.run(_run(settings, token, listener, demo=options.demo))
        except HubError as error:
            _complain(error.message)
            return 1
    return 0


async def _run(settings: Settings, token: str, listener: socket.socket, *, demo: bool) -> None:
    agenthub = AgentHub(settings, token)
    address = _address(settings.host, listener)
    async with agenthub.alive(), _findable(settings, address):
        server = Server(agenthub, _greeting(settings, address, token, demo=demo))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listener]), name="http-server")
            await server.ready.wait()
            if demo:
                await _register_demo(agenthub.hub.endpoints, settings)
            _tidy()
            server.greet()


def _greeting(settings: Settings, address: str, token: str, *, demo: bool) -> str:
    """Say where the hub is. The token is shown to a person only, never to a log."""
    if demo or sys.stdout.isatty():
        return banner(address, token, settings.data_dir)
    return short_banner(address)


@contextlib.asynccontextmanager
async def _findable(settings: Settings, address: str) -> AsyncGenerator[None]:
    """Let the command line find this hub while it runs."""
    data_folder.write_address(settings.data_dir, address)
    try:
        yield
    finally:
        data_folder.forget_address(settings.data_dir)


class Server(uvicorn.Server):
    """uvicorn, which tells when it listens, and ends open streams as soon as it shall stop."""

    def __init__(self, agenthub: AgentHub, greeting: str) -> None:
        super().__init__(
            uvicorn.Config(
                agenthub.app,
                access_log=False,
                backlog=BACKLOG,
                date_header=False,
                http=HeaderBoundProtocol,
                lifespan="off",
                log_config=None,
                loop="none",
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
                timeout_keep_alive=KEEP_ALIVE_S,
                ws="websockets-sansio",
                ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
            )
        )
        self._agenthub = agenthub
        self._greeting = greeting
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    def greet(self) -> None:
        """Say on stdout where the hub is."""
        print(self._greeting, flush=True)  # noqa: T201  this is what the command is for

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Hear the signals. uvicorn's own raises them again, which would end the process early.

        A second signal meets the default handler, and so ends a stop that takes too long.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        yield

    def _stop(self, number: signal.Signals) -> None:
        asyncio.get_running_loop().remove_signal_handler(number)
        self.handle_exit(number, None)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._agenthub.stop_streams()


async def _register_demo(endpoints: EndpointService, settings: Settings) -> None:
    """Register the bundled demo server, once in the life of a data folder."""
    mark = settings.data_dir / data_folder.DEMO_MARK
    if mark.exists():
        return
    transport = StdioTransport(command=sys.executable, args=("-m", "agenthub.demo"))
    try:
        await endpoints.register(OWNER, EndpointDraft(name="demo", transport=transport))
    except ConflictError:
        _log.info("a server named demo is there already")
    mark.touch()


def _tidy() -> None:
    """Give back what the start used once: glibc would keep these 3 MB. Elsewhere, do nothing."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _listener(settings: Settings) -> socket.socket:
    """Bind the hub's socket, so that a taken port is told before anything is started."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except BaseException:
        listener.close()
        raise
    return listener


def _address(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104  shown, not bound
    return f"http://[{name}]:{port}" if ":" in name and name[0] != "[" else f"http://{name}:{port}"


def _start_fault(settings: Settings, error: OSError) -> str:
    where = f"{settings.host}:{settings.port}"
    if isinstance(error, PermissionError | FileExistsError) or error.filename is not None:
        return f"The data folder {settings.data_dir} cannot be used: {error}"
    return f"Cannot listen on {where}: {error.strerror or error}. Choose another with --port."


def _complain(*lines: str) -> None:
    for line in lines:
        print(f"agenthub: {line}", file=sys.stderr)  # noqa: T201  a person started this command
