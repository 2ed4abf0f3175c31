"""Questions and approvals cross the bridge: to the agent, or to a person at the hub.

Real servers of each era and transport that ask, SDK agents of each era, and one hub in between.
The person answers over REST, at once or only when the agent has got its ticket.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tests.support.bridge import ERAS, TRANSPORTS, bridged
from tests.support.hub_process import HubProcess, Json
from tests.support.llm_provider import WORDS, LlmProvider
from tests.support.waiting import eventually, soon

pytestmark = pytest.mark.e2e

MODES = {"legacy": "legacy", "modern": "2026-07-28"}
SERVERS = tuple(f"{era}-{transport}" for era in ERAS for transport in TRANSPORTS)
KINDS = ("form", "link", "model")
HOLD_S = 0.15
PATIENCE_S = 20.0
WAITING_CODE = 1202
COLLECT = "hub__collect"
FORM = {"action": "accept", "content": {"name": "Ada"}}
PERSON = {
    "form": ("/api/elicitation/requests", "respond", FORM),
    "link": ("/api/elicitation/requests", "respond", {"action": "accept"}),
    "model": ("/api/sampling/requests", "approve", {}),
    "approval": ("/api/approvals", "approve", {"arguments": {"amount": 3}}),
}
OF_PERSON = {
    "form": 'accept: {"name": "Ada"}',
    "link": "accept: null",
    "model": f"sampled: {''.join(WORDS)}",
    "approval": "spent 3",
}
OF_AGENT = {
    "form": 'accept: {"name": "Grace"}',
    "link": "accept: null",
    "model": "sampled: by the agent",
}
Agents = dict[tuple[str, bool], Client]
Ending = types.CallToolResult | types.GetPromptResult | types.ReadResourceResult

each_server = pytest.mark.parametrize("server", SERVERS)
each_era = pytest.mark.parametrize("era", ERAS)


@dataclass
class Bridge:
    """The hub, and the person who looks after it; `deeds` counts what each server has done."""

    hub: HubProcess
    deeds: dict[str, int]

    async def person(self, kind: str, server: str) -> Json:
        """Wait for the one question of this kind from this server, and answer it."""
        (asked,) = await self.pending(kind, server, 1)
        await self.answer(asked, kind)
        return asked

    async def answer(self, asked: Json, kind: str, **content: str) -> None:
        """Answer a question; `content` in place of what is usual."""
        path, verb, body = PERSON[kind]
        if content:
            body = {**body, "content": content}
        answer = await asyncio.to_thread(
            self.hub.rest, "POST", f"{path}/{asked['id']}/{verb}", body
        )
        assert answer.status == 200, answer.body

    async def pending(self, kind: str, server: str, count: int) -> list[Json]:
        """Wait until so many questions are open; the oldest first."""

        async def look() -> list[Json]:
            path = f"{PERSON[kind][0]}?status=pending"
            answer = await asyncio.to_thread(self.hub.rest, "GET", path)
            found = [one for one in answer.body["items"] if one["server"] == server]
            return found[::-1] if len(found) >= count else []

        found: list[Json] = await eventually(look, within_s=PATIENCE_S)
        return found

    def done_once(self, server: str, told: str) -> bool:
        self.deeds[server] += 1
        return told.endswith(f"deed {self.deeds[server]}")


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    folder = tmp_path_factory.mktemp("bridge-people")
    with LlmProvider() as provider:
        env = {**provider.settings(), "AGENTHUB_HITL__HOLD_S": str(HOLD_S)}
        hub = HubProcess(folder / "data", env=env)
        with bridged(hub, "asking_server", folder):
            policy = {"name": "costs", "action": "ask", "tool": "act"}
            answer = hub.rest("POST", "/api/policies", policy)
            assert answer.status == 201, answer.body
            yield Bridge(hub, dict.fromkeys(SERVERS, 0))


async def _answer(context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
    is_form = isinstance(params, types.ElicitRequestFormParams)
    return types.ElicitResult(action="accept", content={"name": "Grace"} if is_form else None)


async def _sample(context: object, params: object) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="by the agent")
    return types.CreateMessageResult(role="assistant", model="m", content=content)


@asynccontextmanager
async def agent(
    bridge: Bridge, era: str, *, able: bool, name: str = "matrix"
) -> AsyncIterator[Client]:
    """Connect an agent that can be asked everything, or nothing."""
    async with (
        httpx2.AsyncClient(headers=bridge.hub.headers, timeout=PATIENCE_S) as http,
        Client(
            streamable_http_client(bridge.hub.url("/mcp"), http_client=http),
            mode=MODES[era],
            client_info=types.Implementation(name=name, version="1"),
            elicitation_callback=_answer if able else None,
            sampling_callback=_sample if able else None,
        ) as client,
    ):
        yield client


@pytest.fixture(scope="module")
async def agents(bridge: Bridge) -> AsyncIterator[Agents]:
    """Those that serve every case: of each era one that can be asked, and one that cannot."""
    async with AsyncExitStack() as stack:
        yield {
            (era, able): await stack.enter_async_context(agent(bridge, era, able=able))
            for era in ERAS
            for able in (True, False)
        }


@pytest.fixture(scope="module")
async def adk(bridge: Bridge) -> AsyncIterator[Client]:
    async with agent(bridge, "modern", able=True, name="google-adk") as client:
        yield client


def told(result: object) -> str:
    """Give the words of whatever kind of result."""
    match result:
        case types.CallToolResult(content=[types.TextContent(text=words)]):
            assert not result.is_error, words
            return words
        case types.GetPromptResult(
            messages=[types.PromptMessage(content=types.TextContent(text=words))]
        ):
            return words
        case types.ReadResourceResult(contents=[types.TextResourceContents(text=words)]):
            return words
        case _:
            raise AssertionError(f"no words: {result}")


def ticket_of(result: object) -> str | None:
    """Find the ticket that a legacy agent got in place of a result."""
    meta = result.meta if isinstance(result, types.CallToolResult) else None
    return None if meta is None else meta.get("agenthub/waiting", {}).get("ticket")


async def collected(client: Client, result: types.CallToolResult) -> types.CallToolResult:
    """Do as the hub tells a legacy agent, until there is an outcome."""
    while (ticket := ticket_of(result)) is not None:
        result = await client.call_tool(COLLECT, {"ticket": ticket})
    return result


async def called(client: Client, server: str, kind: str) -> types.CallToolResult:
    name, given = (f"ask_{kind}", {}) if kind in KINDS else ("act", {"amount": 1})
    return await collected(client, await client.call_tool(f"{server}__{name}", given))


@each_era
@each_server
@pytest.mark.parametrize("kind", KINDS)
async def test_an_agent_that_can_answer_is_asked(
    agents: Agents, server: str, era: str, kind: str
) -> None:
    result = await soon(called(agents[era, True], server, kind), within_s=PATIENCE_S)

    assert told(result) == OF_AGENT[kind]


@each_era
@each_server
@pytest.mark.parametrize("kind", KINDS)
async def test_for_an_agent_that_cannot_a_person_answers(
    bridge: Bridge, agents: Agents, server: str, era: str, kind: str
) -> None:
    async with asyncio.TaskGroup() as group:
        call = group.create_task(called(agents[era, False], server, kind))
        await bridge.person(kind, server)

        assert told(await soon(call, within_s=PATIENCE_S)) == OF_PERSON[kind]


@each_era
@each_server
@pytest.mark.parametrize("able", [True, False], ids=["able", "mute"])
async def test_a_person_lets_a_call_pass_and_it_is_done_once(
    bridge: Bridge, agents: Agents, server: str, era: str, able: bool
) -> None:
    async with asyncio.TaskGroup() as group:
        call = group.create_task(called(agents[era, able], server, "approval"))
        asked = await bridge.person("approval", server)
        words = told(await soon(call, within_s=PATIENCE_S))

    assert asked["question"]["arguments"] == {"amount": 1}
    assert words.startswith(OF_PERSON["approval"])
    assert bridge.done_once(server, words)


@each_server
@pytest.mark.parametrize("kind", [*KINDS, "approval"])
async def test_a_legacy_agent_gets_a_ticket_and_collects_with_it(
    bridge: Bridge, agents: Agents, server: str, kind: str
) -> None:
    name, given = (f"ask_{kind}", {}) if kind in KINDS else ("act", {"amount": 1})
    client = agents["legacy", False]
    listed = [tool.name for tool in (await client.list_tools()).tools]
    waiting = await client.call_tool(f"{server}__{name}", given)
    ticket = ticket_of(waiting)
    assert ticket is not None
    await bridge.person(kind, server)
    outcomes = [await collected(client, waiting) for _ in range(2)]

    assert COLLECT in listed
    assert not waiting.is_error
    words = [told(outcome) for outcome in outcomes]
    assert words[0] == words[1]
    assert words[0].startswith(OF_PERSON[kind])
    if kind == "approval":
        assert bridge.done_once(server, words[0])


@each_server
@pytest.mark.parametrize("kind", [*KINDS, "approval"])
async def test_a_modern_agent_is_told_to_come_back_and_does(
    bridge: Bridge, agents: Agents, server: str, kind: str
) -> None:
    name, given = (f"ask_{kind}", {}) if kind in KINDS else ("act", {"amount": 1})
    session, tool = agents["modern", False].session, f"{server}__{name}"
    result = await session.call_tool(tool, given, allow_input_required=True)
    assert isinstance(result, types.InputRequiredResult)
    assert not result.input_requests
    await bridge.person(kind, server)
    while isinstance(result, types.InputRequiredResult):
        result = await session.call_tool(
            tool, given, request_state=result.request_state, allow_input_required=True
        )

    words = told(result)
    assert words.startswith(OF_PERSON[kind])
    if kind == "approval":
        assert bridge.done_once(server, words)


async def asked_within(client: Client, server: str, method: str) -> Ending:
    """Get the prompt or read the resource that asks; a legacy agent asks again while it waits."""
    while True:
        try:
            if method == "prompts/get":
                return await client.get_prompt(f"{server}__asking")
            return await client.read_resource(f"{server}+asking://note")
        except MCPError as error:
            if error.error.code != WAITING_CODE:
                raise


@each_era
@each_server
@pytest.mark.parametrize("method", ["prompts/get", "resources/read"])
async def test_a_prompt_and_a_resource_may_ask_the_agent(
    agents: Agents, server: str, era: str, method: str
) -> None:
    result = await soon(asked_within(agents[era, True], server, method), within_s=PATIENCE_S)

    assert told(result) == OF_AGENT["form"]


@each_era
@each_server
@pytest.mark.parametrize("late", [False, True], ids=["prompt", "late"])
@pytest.mark.parametrize("method", ["prompts/get", "resources/read"])
async def test_a_prompt_and_a_resource_may_ask_a_person(
    bridge: Bridge, agents: Agents, server: str, era: str, method: str, late: bool
) -> None:
    async with asyncio.TaskGroup() as group:
        call = group.create_task(asked_within(agents[era, False], server, method))
        if late:
            await asyncio.wait([call], timeout=2 * HOLD_S)
        asked = await bridge.person("form", server)

        assert told(await soon(call, within_s=PATIENCE_S)) == OF_PERSON["form"]
    assert asked["deed"] == method


@each_server
@pytest.mark.parametrize("late", [False, True], ids=["prompt", "late"])
@pytest.mark.parametrize("kind", ["form", "approval"])
async def test_adk_is_never_sent_a_round(
    bridge: Bridge, adk: Client, server: str, kind: str, late: bool
) -> None:
    name, given = (f"ask_{kind}", {}) if kind in KINDS else ("act", {"amount": 1})
    async with asyncio.TaskGroup() as group:
        work = adk.session.call_tool(f"{server}__{name}", given, allow_input_required=True)
        call = group.create_task(work)
        if late:
            await asyncio.wait([call], timeout=2 * HOLD_S)
        asked = await bridge.person(kind, server)
        result = await soon(call, within_s=PATIENCE_S)
        assert isinstance(result, types.CallToolResult)
        words = told(await collected(adk, result))

    assert asked["agent"] == "google-adk"
    assert words.startswith(OF_PERSON[kind])
    if kind == "approval":
        assert bridge.done_once(server, words)


@each_era
@pytest.mark.parametrize("count", [1, 2])
async def test_on_one_pipe_nobody_guesses_whose_question_it_is(
    bridge: Bridge, agents: Agents, era: str, count: int
) -> None:
    crowded, first = "legacy-stdio", agents[era, False]
    async with agent(bridge, era, able=False) as other, asyncio.TaskGroup() as group:
        calls: list[asyncio.Task[types.CallToolResult]] = []
        asked: list[Json] = []
        for number, client in enumerate((first, first if count == 1 else other), 1):
            calls.append(group.create_task(called(client, crowded, "form")))
            asked = await bridge.pending("form", crowded, number)
        await bridge.answer(asked[1], "form", name="Grace")
        await bridge.answer(asked[0], "form", name="Ada")
        words = [told(await soon(call, within_s=PATIENCE_S)) for call in calls]

    assert words == [f'accept: {{"name": "{name}"}}' for name in ("Ada", "Grace")]
    is_known = count == 1 and era == "legacy"
    assert [one["deed"] for one in asked] == ["tools/call", "tools/call" if is_known else ""]
    assert asked[1]["agent"] == ("matrix" if is_known else "")
