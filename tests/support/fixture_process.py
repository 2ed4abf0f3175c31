"""Fixture MCP servers of `tests/fixtures` as processes of their own."""

import socket
import sys
from pathlib import Path

from tests.support.child import ChildProcess
from tests.support.node import REPOSITORY
from tests.support.ports import free_port


def accepts_connections(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def fixture_command(module: str, *arguments: str) -> list[str]:
    """The command line of a fixture, for whoever starts it over stdio."""
    return [sys.executable, "-m", f"tests.fixtures.{module}", *arguments]


class FixtureProcess(ChildProcess):
    """A fixture that listens on a free loopback port.

    with FixtureProcess("era_server", "--era", "legacy", "--transport", "http",
                        log_dir=tmp_path) as upstream:
        hub.register_http("old", upstream.url)
    """

    def __init__(self, module: str, *arguments: str, log_dir: Path, path: str = "/mcp") -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{path}"
        super().__init__(
            fixture_command(module, *arguments, "--port", str(self.port)),
            log_path=log_dir / f"{module}-{self.port}.log",
            is_ready=lambda: accepts_connections(self.port),
            cwd=REPOSITORY,
        )
