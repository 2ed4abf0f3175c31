"""Twenty agents at once, all counting their requests from 1: everyone gets their own answers."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack, ExitStack

import pytest

from tests.support.agents import Agent, AgentEra, text_of
from tests.support.fault_mcp import Eras
from tests.support.fault_stdio import FaultyStdio
from tests.support.faults import McpUpstream
from tests.support.hub_process import HubProcess

pytestmark = [pytest.mark.chaos, pytest.mark.e2e]

AGENTS = 20
CALLS = 50
SERVERS = ("http-old", "http-new", "stdio-old", "stdio-new")


@pytest.fixture(scope="module")
def hub(
    make_hub: Callable[..., HubProcess], tmp_path_factory: pytest.TempPathFactory
) -> Generator[HubProcess]:
    folder = tmp_path_factory.mktemp("stdio")
    with ExitStack() as stack:
        old = stack.enter_context(McpUpstream(Eras.LEGACY))
        new = stack.enter_context(McpUpstream(Eras.MODERN))
        # Four places at a stdio server for 250 calls at once: the last of them wait for a while.
        hub = stack.enter_context(make_hub(AGENTHUB_UPSTREAM__CALL_TIMEOUT_S="30"))
        hub.register_http("http-old", old.url)
        hub.register_http("http-new", new.url)
        hub.register("stdio-old", FaultyStdio(folder, Eras.LEGACY).transport)
        hub.register("stdio-new", FaultyStdio(folder, Eras.MODERN).transport)
        yield hub


async def test_no_answer_is_crossed_between_agents_servers_and_eras(hub: HubProcess) -> None:
    async with AsyncExitStack() as stack:
        agents = [
            await stack.enter_async_context(Agent(hub.url("/mcp"), hub.token, era))
            for era in (AgentEra.LEGACY, AgentEra.MODERN) * (AGENTS // 2)
        ]
        answers = await asyncio.gather(
            *(
                asked(agent, f"{SERVERS[(who + number) % len(SERVERS)]}__echo", f"{who}/{number}")
                for number in range(CALLS)
                for who, agent in enumerate(agents)
            )
        )
    crossed = [(sent, got) for sent, got in answers if sent != got]
    assert len(answers) == AGENTS * CALLS
    assert crossed == []


async def asked(agent: Agent, tool: str, words: str) -> tuple[str, str]:
    """Have `words` echoed, named after the tool, and give what was sent and what came."""
    message = f"{tool} {words}"
    return message, text_of(await agent.call(tool, {"message": message}))


@pytest.mark.parametrize("era", AgentEra)
async def test_one_agent_with_many_calls_gets_each_answer_once(
    hub: HubProcess, era: AgentEra
) -> None:
    async with Agent(hub.url("/mcp"), hub.token, era) as agent:
        answers = await asyncio.gather(
            *(asked(agent, f"{SERVERS[n % 4]}__echo", str(n)) for n in range(4 * CALLS))
        )
    assert [got for _, got in answers] == [sent for sent, _ in answers]
