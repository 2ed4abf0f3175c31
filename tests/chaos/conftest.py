"""A hub whose calls time out soon, so that a hanging server costs seconds and not minutes."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import ExitStack

import pytest

from tests.chaos.invariants import holdings, holds_no_more, warm
from tests.chaos.park import be_patient
from tests.support.fault_mcp import Eras
from tests.support.fault_stdio import FaultyStdio
from tests.support.faults import McpUpstream
from tests.support.hub_process import HubProcess

CALL_TIMEOUT_S = 3.0


@pytest.fixture(scope="module")
def make_hub(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., HubProcess]:
    """Make hubs that are not started yet, each with a data dir of its own."""

    def make(*, launcher: str = "agenthub", **env: str) -> HubProcess:
        env = {"AGENTHUB_UPSTREAM__CALL_TIMEOUT_S": str(CALL_TIMEOUT_S), **env}
        return HubProcess(tmp_path_factory.mktemp("hub") / "data", env=env, launcher=launcher)

    return make


@pytest.fixture(scope="module")
def park(
    make_hub: Callable[..., HubProcess], tmp_path_factory: pytest.TempPathFactory
) -> Generator[HubProcess]:
    """A hub with three healthy servers: one of each era over HTTP, and one over stdio.

    Whatever a module does with it, it must not have gathered anything at the end.
    """
    with ExitStack() as stack:
        old = stack.enter_context(McpUpstream(Eras.LEGACY))
        new = stack.enter_context(McpUpstream(Eras.MODERN))
        hub = stack.enter_context(make_hub())
        hub.register_http("well-old", old.url)
        hub.register_http("well-new", new.url)
        hub.register("well-stdio", FaultyStdio(tmp_path_factory.mktemp("stdio")).transport)
        be_patient(hub)
        asyncio.run(warm(hub))
        before = holdings(hub)
        yield hub
        asyncio.run(holds_no_more(hub, before))
