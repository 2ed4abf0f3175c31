"""What holds for every test: one event loop kind, no internet, no deadline of Hypothesis' own."""

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("agenthub", deadline=None, print_blob=True)
hypothesis.settings.load_profile("agenthub")


APART = ("chaos", "conformance", "e2e", "integration/real_servers", "security")
_counting: dict[str, str] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have the processes that these tests start run at their own speed, without coverage.

    What they do is counted in the tests that have the hub in their own process.
    """
    _counting.update({k: v for k, v in os.environ.items() if k.startswith("COVERAGE_")})
    place = item.path.relative_to(Path(__file__).parent).as_posix()
    for name, value in _counting.items():
        if place.startswith(APART):
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


class InternetUsedError(AssertionError):
    """A test tried to leave this machine."""


def _is_on_this_machine(family: int, address: Any) -> bool:
    if family == socket.AF_UNIX:
        return True
    if family not in (socket.AF_INET, socket.AF_INET6):
        return False
    host = str(address[0]).partition("%")[0]
    if host in ("localhost", ""):
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return ip.is_loopback or ip.is_unspecified


@pytest.fixture(scope="session", autouse=True)
def _attempts() -> Iterator[list[str]]:
    """Refuse connections to other machines and remember them.

    Remembered as well as raised: the code under test may translate the error and carry on. Names
    other than localhost do not resolve, as on a machine without a network.
    """
    attempts: list[str] = []
    connect, connect_ex, getaddrinfo = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.getaddrinfo,
    )

    def check(sock: socket.socket, address: Any) -> None:
        if not _is_on_this_machine(sock.family, address):
            attempts.append(str(address))
            raise InternetUsedError(f"a test connects to {address}")

    def guarded_connect(self: socket.socket, address: Any, /) -> None:
        check(self, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any, /) -> int:
        check(self, address)
        return connect_ex(self, address)

    def local_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and not _is_literal(name) and name not in ("localhost", ""):
            raise socket.gaierror(socket.EAI_NONAME, "no names but localhost resolve in tests")
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", local_getaddrinfo)
        yield attempts


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


@pytest.fixture(autouse=True)
def _no_internet(_attempts: list[str]) -> Iterator[None]:
    """Fail the test during which something tried to leave this machine."""
    _attempts.clear()
    yield
    if _attempts:
        pytest.fail(f"tried to leave this machine: {', '.join(_attempts)}")
