"""The real servers: how each is started, and a folder for them to work in."""

import base64
import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fixtures.conformance_tools import PIXEL_PNG
from tests.support.child import ChildProcess
from tests.support.fixture_process import accepts_connections
from tests.support.hub_process import HubConnection
from tests.support.node import node, old_sdk_command, package_file
from tests.support.ports import free_port

OFFICIAL = "@modelcontextprotocol"
GIT_IDENTITY = {
    "GIT_AUTHOR_NAME": "A Test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "A Test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


@dataclass(frozen=True, slots=True)
class Started:
    """A server over stdio: what whoever uses it has to start."""

    command: list[str]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that runs already."""

    url: str
    transport: str


Server = Started | Listening


def npm_server(name: str, *arguments: str) -> list[str]:
    return [node(), package_file(f"{OFFICIAL}/server-{name}", "dist/index.js"), *arguments]


def python_server(name: str, *arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name(name)), *arguments]


def prepare(work: Path) -> None:
    """A text, an image and a git repository with one commit."""
    work.mkdir(parents=True)
    (work / "first.txt").write_text("first\n")
    (work / "pixel.png").write_bytes(base64.b64decode(PIXEL_PNG))
    repo = work / "repo"
    git = ["git", "-C", str(repo)]
    env = {**os.environ, **GIT_IDENTITY}
    subprocess.run(["git", "init", "-q", "-b", "main", str(repo)], check=True, env=env)
    (repo / "README.md").write_text("# A repository\n")
    subprocess.run([*git, "add", "."], check=True, env=env)
    subprocess.run([*git, "commit", "-q", "-m", "Begin"], check=True, env=env)


def over_stdio(work: Path) -> dict[str, Started]:
    files = {"MEMORY_FILE_PATH": str(work.with_name("memory.jsonl"))}
    return {
        "everything-stdio": Started(npm_server("everything", "stdio"), {}),
        "filesystem": Started(npm_server("filesystem", str(work)), {}),
        "memory": Started(npm_server("memory"), files),
        "time": Started(python_server("mcp-server-time"), {}),
        "git": Started(
            python_server("mcp-server-git", "--repository", str(work / "repo")), GIT_IDENTITY
        ),
        "sqlite": Started(
            [old_sdk_command("mcp-server-sqlite"), "--db-path", str(work.with_name("facts.db"))], {}
        ),
    }


def everything_listening(kind: str, log_dir: Path) -> tuple[ChildProcess, int]:
    port = free_port()
    process = ChildProcess(
        npm_server("everything", kind),
        log_path=log_dir / f"everything-{kind}.log",
        is_ready=lambda: accepts_connections(port),
        env={"PATH": os.defpath, "PORT": str(port)},
    )
    return process, port


@contextmanager
def real_servers(work: Path) -> Generator[dict[str, Server]]:
    """All real servers by the names of the table; those that listen run inside the block."""
    prepare(work)
    servers: dict[str, Server] = dict(over_stdio(work))
    with ExitStack() as stack:
        for name, kind, transport, path in (
            ("everything-http", "streamableHttp", "streamable-http", "/mcp"),
            ("everything-sse", "sse", "sse", "/sse"),
        ):
            process, port = everything_listening(kind, work.parent)
            stack.enter_context(process)
            servers[name] = Listening(f"http://127.0.0.1:{port}{path}", transport)
        yield servers


def register_all(hub: HubConnection, servers: Mapping[str, Server]) -> None:
    for name, server in servers.items():
        if isinstance(server, Started):
            hub.register_stdio(name, *server.command, env=server.env)
        else:
            hub.register(name, {"type": server.transport, "url": server.url})
