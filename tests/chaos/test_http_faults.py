"""An HTTP server that fails in every known way harms nobody else, and is used again once healed."""

from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.chaos.park import HELD_BACK, be_patient, bounded_memory, fault_strikes_alone, recovers
from tests.support.fault_http import HttpFault, bomb
from tests.support.fault_mcp import Eras
from tests.support.fault_stdio import FaultyStdio
from tests.support.faults import Fault, FaultyUpstream, McpUpstream, TcpFault
from tests.support.hub_process import HubProcess

pytestmark = [pytest.mark.chaos, pytest.mark.e2e, pytest.mark.slow]

TOOLS = ["ill-old__echo", "ill-new__echo"]

CODES: dict[Fault, set[str]] = {
    HttpFault.HANG: {"server_timeout"},
    HttpFault.HTML: {"server_no_mcp"},
    HttpFault.GZIP_BOMB: {"body_too_large"},
    HttpFault.ENDLESS_SSE: {"body_too_large", "server_bad_message", "server_timeout"},
    HttpFault.FLOOD: {"server_timeout"},
    HttpFault.TOO_MANY: {"server_rate_limited"},
    HttpFault.UNAVAILABLE: set(),
    HttpFault.UNAUTHORIZED: {"server_unauthorized"},
    HttpFault.REDIRECT: {"server_redirects"},
    HttpFault.WRONG_ID: {"server_no_reply", "server_timeout"},
    TcpFault.RESET: {"transport_error"},
    TcpFault.CUT: {"transport_error"},
    TcpFault.HALF_CLOSE: {"transport_error", "server_timeout"},
    TcpFault.GARBAGE: {"transport_error"},
    TcpFault.BLACKHOLE: {"server_timeout"},
    TcpFault.SLOW_DRIP: {"server_timeout"},
}
"""What the first calls may say; later ones may also say that they were held back."""


@dataclass(frozen=True, slots=True)
class Ward:
    """A hub with three healthy servers and an ill one, registered once for each era."""

    hub: HubProcess
    ill: FaultyUpstream
    internal: McpUpstream


@pytest.fixture(scope="module")
def ward(
    make_hub: Callable[..., HubProcess], tmp_path_factory: pytest.TempPathFactory
) -> Generator[Ward]:
    bomb()  # it takes a second to make
    with ExitStack() as stack:
        old = stack.enter_context(McpUpstream(Eras.LEGACY))
        new = stack.enter_context(McpUpstream(Eras.MODERN))
        internal = stack.enter_context(McpUpstream())
        ill = stack.enter_context(FaultyUpstream(redirect_to=internal.url))
        hub = stack.enter_context(make_hub(AGENTHUB_GATEWAY__BREAKER__MAX_OPEN_S="8"))
        hub.register_http("well-old", old.url)
        hub.register_http("well-new", new.url)
        hub.register("well-stdio", FaultyStdio(tmp_path_factory.mktemp("stdio")).transport)
        be_patient(hub)
        hub.register_http("ill-old", ill.url, era="legacy")
        hub.register_http("ill-new", ill.url, era="modern")
        yield Ward(hub, ill, internal)


@pytest.mark.parametrize("fault", CODES)
async def test_fault_strikes_its_own_calls_only_and_passes(ward: Ward, fault: Fault) -> None:
    await recovers(ward.hub, TOOLS)
    try:
        ward.ill.plant(fault)
        with bounded_memory(ward.hub):
            refusals = await fault_strikes_alone(ward.hub, TOOLS)
    finally:
        ward.ill.heal()
    codes = {refusal.code for refusal in refusals}
    assert codes <= CODES[fault] | HELD_BACK, refusals
    assert codes & (CODES[fault] or codes), f"nothing tells what is wrong: {refusals}"
    nameless = [r for r in refusals if "ill-" not in r.text and "127.0.0.1" not in r.text]
    assert nameless == [], "the error does not say which server failed"
    await recovers(ward.hub, TOOLS)
    assert ward.internal.requests == 0, "a redirect was followed"
