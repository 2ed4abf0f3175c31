"""Hubs under attack. What they log is read after every test: a secret or a trace fails it."""

from collections.abc import Generator, Iterator

import pytest

from tests.security.house import House
from tests.security.upstreams import WatchedUpstream, tool
from tests.security.wire import Target
from tests.support.fault_mcp import ECHO
from tests.support.hub_process import HubProcess

FRIEND = "chrome-extension://" + "a" * 32
ENV_SECRET = "hunter2-of-the-environment"
SEALING_KEY = "c2VhbGluZy1rZXktb2YtdGhlLXNlY3VyaXR5LXRlc3Q="
_ENV = {
    "AGENTHUB_ALLOWED_ORIGINS": FRIEND,
    "AGENTHUB_LOG__FORMAT": "json",
    "AGENTHUB_SECRET_KEY": SEALING_KEY,
    "AWS_SECRET_ACCESS_KEY": ENV_SECRET,
}


def _attacked(hub: HubProcess) -> Generator[Target]:
    with hub:
        target = Target(hub, [ENV_SECRET, SEALING_KEY])
        yield target
        target.assert_log_is_sound()


@pytest.fixture(scope="session")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    yield from _attacked(HubProcess(tmp_path_factory.mktemp("home") / "data", env=_ENV))


@pytest.fixture(scope="session")
def _guarded(tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    env = {**_ENV, "AGENTHUB_EGRESS__ALLOW_PRIVATE": "false", "AGENTHUB_LOG__FORMAT": "console"}
    yield from _attacked(HubProcess(tmp_path_factory.mktemp("guarded") / "data", env=env))


@pytest.fixture
def hub(_home: Target) -> Iterator[Target]:
    """A hub as it runs on a person's machine, with one friendly origin."""
    yield _home
    _home.assert_log_is_sound()


@pytest.fixture
def guarded(_guarded: Target) -> Iterator[Target]:
    """A hub that may not speak to private addresses, and logs for a person's eye."""
    yield _guarded
    _guarded.assert_log_is_sound()


@pytest.fixture(params=["hub", "guarded"])
def either(request: pytest.FixtureRequest) -> Target:
    """Both hubs in turn, for what must hold in both forms of the log."""
    target: Target = request.getfixturevalue(request.param)
    return target


@pytest.fixture(scope="session")
def _watched(_home: Target) -> Iterator[WatchedUpstream]:
    with WatchedUpstream() as upstream:
        _home.hub.register_http("watched", upstream.url)
        yield upstream


@pytest.fixture
def watched(_watched: WatchedUpstream) -> WatchedUpstream:
    """A server registered as `watched`, with the tool `echo`; forgets what it got before."""
    _watched.exchanges.clear()
    return _watched


@pytest.fixture(scope="session")
def _house(_home: Target) -> Iterator[House]:
    extra = [ECHO, tool("secret_plan")]
    with WatchedUpstream(*extra) as ours, WatchedUpstream(*extra) as theirs:
        house = House(_home, ours, theirs)
        yield house
        house.close()


@pytest.fixture
def house(hub: Target, _house: House) -> House:
    _house.ours.exchanges.clear()
    _house.theirs.exchanges.clear()
    return _house
