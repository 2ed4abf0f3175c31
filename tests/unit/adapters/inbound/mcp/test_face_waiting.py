"""While a person has a call: what agents are told, and how they come back for its outcome."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agenthub.adapters.inbound.mcp.collecting import COLLECT, WAITING_CODE
from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.catalog.listing import Catalog, Item, ItemKind
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import OWNER, Scope
from agenthub.domain.exceptions import GoneError, RpcError
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.mcp_client import (
    Answer,
    Caller,
    InputRequired,
    Question,
    UpstreamRequest,
)
from agenthub.domain.services.calls import Outcome
from tests.support.waiting import eventually, soon
from tests.unit.adapters.inbound.mcp.held import TICKET, WAITING
from tests.unit.adapters.inbound.mcp.test_face_modern import ELICITS, call, relay
from tests.unit.adapters.inbound.mcp.world import META, OK, World

pytestmark = pytest.mark.anyio
TARGET = Target(EndpointId("endpoint-time"), "time", "echo")
DONE = Outcome(Answer(OK, Era.LEGACY), TARGET)
PROMPT = b'{"messages":[{"role":"user","content":{"type":"text","text":"hi"}}]}'
ADK = {f"{META}clientInfo": {"name": "google-adk", "version": "2.13.0"}}
OTHERS = [
    ("tools/call", {"name": "time__echo"}),
    ("prompts/get", {"name": "time__greet"}),
    ("resources/read", {"uri": "time+demo://a"}),
]


@pytest.fixture
async def people(world: World) -> World:
    """A world where every call has to wait for a person."""
    world.held.people = True
    return world


def words(answer: Any) -> str:
    (block,) = answer["result"]["content"]
    text: str = block["text"]
    return text


def names(answer: Any) -> list[str]:
    return [tool["name"] for tool in answer["result"]["tools"]]


async def test_a_legacy_agent_gets_a_result_that_tells_a_model_how_to_come_back(
    people: World,
) -> None:
    answer = await (await people.legacy()).call("time__echo").json()

    assert "isError" not in answer["result"]
    for said in (TICKET, COLLECT, "approval", "'time'", "2026-11-21 01:00:00 UTC"):
        assert said in words(answer)
    facts = answer["result"]["_meta"]["agenthub/waiting"]
    assert (facts["code"], facts["ticket"]) == ("waiting_for_person", TICKET)
    assert facts["requests"] == ["request-1"]


@pytest.mark.parametrize(("version", "is_error"), [("2025-11-25", True), ("2025-03-26", False)])
async def test_where_structured_content_was_promised_the_wait_is_told_as_an_error(
    people: World, version: str, is_error: bool
) -> None:
    shaped = {"name": "echo", "inputSchema": {"type": "object"}, "outputSchema": {"type": "object"}}
    items = dict.fromkeys(ItemKind, ())
    tool = Item(ItemKind.TOOLS, "echo", shaped)
    people.client.offer(EndpointId("endpoint-time"), Catalog({**items, ItemKind.TOOLS: (tool,)}))

    answer = await (await people.legacy(version=version)).call("time__echo").json()

    assert answer["result"].get("isError", False) is is_error
    assert TICKET in words(answer)


@pytest.mark.parametrize(("method", "params"), OTHERS[1:])
async def test_what_has_no_result_for_it_is_told_the_wait_as_an_error(
    people: World, method: str, params: dict[str, Any]
) -> None:
    answer = await (await people.legacy()).request(method, params).json()

    error = answer["error"]
    assert error["code"] == WAITING_CODE
    assert not -32768 <= error["code"] <= -32000
    assert TICKET in error["message"]
    assert error["data"]["ticket"] == TICKET


@pytest.mark.parametrize(("method", "params"), OTHERS)
async def test_a_modern_agent_is_told_to_come_back_and_gets_the_outcome_then(
    people: World, method: str, params: dict[str, Any]
) -> None:
    results = {"tools/call": OK, "prompts/get": PROMPT, "resources/read": b'{"contents":[]}'}

    first = (await people.modern(method, params).json())["result"]
    again = {**params, "requestState": first["requestState"]}
    people.held.outcomes[TICKET] = WAITING
    second = (await people.modern(method, again).json())["result"]
    people.held.outcomes[TICKET] = Outcome(Answer(results[method], Era.LEGACY), TARGET)
    third = {**params, "requestState": second["requestState"]}
    done = (await people.modern(method, third).json())["result"]

    for told in (first, second):
        assert told["resultType"] == "input_required"
        assert "inputRequests" not in told
        assert TICKET not in json.dumps(told["_meta"])
    assert done["resultType"] == "complete"
    assert people.held.resumed == [("owner", TICKET)] * 2
    assert len(people.held.carried) == 1


@pytest.mark.parametrize("what", ["altered", "other arguments", "a stranger"])
async def test_a_state_that_is_not_of_this_request_collects_nothing(
    people: World, what: str
) -> None:
    people.held.outcomes[TICKET] = DONE
    state = (await call(people).json())["result"]["requestState"]
    how: dict[str, Any] = {}
    if what == "altered":
        state = state[:-2] + ("AA" if state[-2:] != "AA" else "BB")
    elif what == "other arguments":
        how["arguments"] = {"a": 2}
    else:
        how["principal"] = replace(OWNER, subject="key-2")

    answer = await call(people, requestState=state, **how).json()

    assert answer["error"]["code"] == -32602
    assert people.held.resumed == []


async def test_a_state_whose_call_is_no_more_says_to_call_again(people: World) -> None:
    state = (await call(people).json())["result"]["requestState"]

    answer = await call(people, requestState=state).json()

    assert answer["error"]["code"] == -32602
    assert "again" in answer["error"]["message"]


async def test_a_state_lives_as_long_as_the_question_and_its_outcome(people: World) -> None:
    people.held.outcomes[TICKET] = DONE
    state = (await call(people).json())["result"]["requestState"]

    people.clock.move(2_600 + 590)

    assert "result" in await call(people, requestState=state).json()
    people.clock.move(20)
    assert (await call(people, requestState=state).json())["error"]["code"] == -32602


async def test_what_a_held_call_ended_with_is_told_as_if_it_had_been_at_once(
    people: World,
) -> None:
    state = (await call(people).json())["result"]["requestState"]
    people.held.outcomes[TICKET] = GoneError("Nobody answered.", code="request_expired")
    expired = await call(people, requestState=state).json()
    people.held.outcomes[TICKET] = RpcError(-5, "no")
    refused = await call(people, requestState=state).json()

    assert expired["result"]["isError"] is True
    assert expired["result"]["_meta"]["agenthub/error"]["code"] == "request_expired"
    assert refused["error"]["code"] == -5


async def test_a_parked_call_that_a_person_gets_is_waited_for_with_a_state_only(
    world: World,
) -> None:
    await world.add("time", Era.LEGACY)
    world.held.people = True

    first = (await call(world).json())["result"]
    world.held.outcomes[TICKET] = DONE
    done = (await call(world, requestState=first["requestState"]).json())["result"]

    assert first["resultType"] == "input_required"
    assert "inputRequests" not in first
    assert done["content"] == [{"type": "text", "text": "ok"}]


async def test_adk_gets_words_for_a_wait_and_never_an_input_required(people: World) -> None:
    answer = await call(people, meta=ADK).json()

    assert answer["result"]["resultType"] == "complete"
    assert TICKET in words(answer)


@pytest.mark.parametrize("has_questions", [True, False])
async def test_what_only_a_round_could_answer_is_an_error_to_adk(
    world: World, has_questions: bool
) -> None:
    async def poll(request: UpstreamRequest, caller: Caller) -> Answer:
        return Answer(b"{}", Era.MODERN, InputRequired({}, "later"))

    world.client.handle = relay if has_questions else poll

    answer = await call(world, meta=ADK).json()

    assert "input_required" not in json.dumps(answer)
    assert "error" in answer or answer["result"]["isError"] is True


async def test_links_of_a_legacy_server_come_back_with_what_the_agent_said(world: World) -> None:
    url = Question("time", "elicitation/create", b'{"mode":"url","url":"https://x.test"}')
    links = InputRequired({"hub-link-1": url}, None)

    async def link(request: UpstreamRequest, caller: Caller) -> Answer:
        is_opened = len(world.client.requests) == 3
        return Answer(OK, Era.LEGACY) if is_opened else Answer(b"{}", Era.LEGACY, links)

    await world.add("time", Era.LEGACY)
    world.client.handle = link
    able = {"elicitation": {"url": {}}}

    first = (await call(world, capabilities=able).json())["result"]
    answers = {"hub-link-1": {"action": "accept"}}
    stray = (await call(world, capabilities=able, inputResponses=answers).json())["result"]
    done = await call(
        world, capabilities=able, inputResponses=answers, requestState=first["requestState"]
    ).json()

    assert first["resultType"] == stray["resultType"] == "input_required"
    assert first["inputRequests"]["hub-link-1"]["params"]["url"] == "https://x.test"
    assert words(done) == "ok"
    brought = [errand.params.keys() for errand, _ in world.held.carried]
    assert ["inputResponses" in params for params in brought] == [False, False, True]
    assert "requestState" not in brought[2]


@pytest.mark.parametrize("era", list(Era))
async def test_what_adk_declares_is_not_believed(world: World, era: Era) -> None:
    await world.add("time", era)
    declared = {**ELICITS, "sampling": {}, "roots": {}, "extensions": {"x": {}}}

    await call(world, meta=ADK, capabilities=declared).json()

    (caller,) = [caller for _, caller in world.held.carried]
    assert caller.capabilities == {"extensions": {"x": {}}}
    assert caller.agent == "google-adk"


async def test_agents_that_need_it_find_the_tool_that_collects(people: World) -> None:
    legacy = await people.legacy()
    one = await people.legacy(path="/servers/time/mcp")

    assert names(await legacy.request("tools/list").json()) == ["time__echo", COLLECT]
    assert names(await people.modern("tools/list", meta=ADK).json()) == ["time__echo", COLLECT]
    assert names(await people.modern("tools/list").json()) == ["time__echo"]
    assert names(await one.request("tools/list").json()) == ["echo"]


async def test_where_nobody_is_asked_the_tool_is_not_listed(world: World) -> None:
    agent = await world.legacy()
    before = names(await agent.request("tools/list").json())
    world.held.people = True
    reader = await world.legacy(principal=replace(OWNER, scopes=frozenset({Scope.HUB_READ})))

    assert before == ["time__echo"]
    assert names(await reader.request("tools/list").json()) == ["time__echo"]


async def test_a_servers_own_tool_of_that_name_goes_first(people: World) -> None:
    await people.add("hub", tools=("collect",))
    agent = await people.legacy()

    listed = names(await agent.request("tools/list").json())
    told = words(await agent.call("time__echo").json())
    await agent.call(COLLECT, arguments={"ticket": TICKET}).json()

    assert listed.count(COLLECT) == 1
    assert COLLECT not in told
    assert "same call again" in told
    assert people.held.resumed == []


@pytest.mark.parametrize("path", ["/mcp", "/servers/time/mcp"])
async def test_the_outcome_is_collected_as_often_as_wanted(people: World, path: str) -> None:
    agent = await people.legacy(path=path)
    people.held.outcomes[TICKET] = WAITING
    waiting = await agent.call(COLLECT, arguments={"ticket": TICKET}).json()
    people.held.outcomes[TICKET] = DONE

    outcomes = [await agent.call(COLLECT, arguments={"ticket": TICKET}).json() for _ in range(2)]

    assert TICKET in words(waiting)
    assert [words(outcome) for outcome in outcomes] == ["ok", "ok"]


async def test_a_modern_agent_may_collect_with_the_tool_too(people: World) -> None:
    people.held.outcomes[TICKET] = DONE

    answer = await people.modern(
        "tools/call", {"name": COLLECT, "arguments": {"ticket": TICKET}}
    ).json()

    assert words(answer) == "ok"


@pytest.mark.parametrize("result", [PROMPT, b'{"contents":[{"uri":"demo://a","text":"hi"}]}'])
async def test_a_prompt_or_a_resource_is_collected_as_text(people: World, result: bytes) -> None:
    people.held.outcomes[TICKET] = Outcome(Answer(result, Era.LEGACY), TARGET)

    answer = await (await people.legacy()).call(COLLECT, arguments={"ticket": TICKET}).json()

    assert "hi" in json.dumps(json.loads(words(answer)))
    assert "isError" not in answer["result"]


@pytest.mark.parametrize("arguments", [{"ticket": "of-a-stranger"}, {"ticket": 1}, {}, None])
async def test_a_ticket_that_is_none_is_a_failed_result(people: World, arguments: Any) -> None:
    agent = await people.legacy()

    answer = await agent.call(COLLECT, arguments=arguments).json()

    assert answer["result"]["isError"] is True


@pytest.mark.parametrize("ticket", ["T" * 1_000_000, "a\0b", "", "'; --", "\u202e"])
async def test_what_cannot_be_a_ticket_is_neither_looked_for_nor_repeated(
    people: World, ticket: str
) -> None:
    agent = await people.legacy()

    answer = await agent.call(COLLECT, arguments={"ticket": ticket}).json()

    assert answer["result"]["isError"] is True
    assert len(words(answer)) < 200
    assert people.held.resumed == []


async def test_collecting_needs_the_scope_of_calling(people: World) -> None:
    key = replace(OWNER, scopes=frozenset({Scope.HUB_READ}))
    visit = (await people.legacy(principal=key)).call(COLLECT, arguments={"ticket": TICKET})

    await visit.body()

    assert visit.status == 403
    assert people.held.resumed == []


async def _legacy_call(world: World) -> Any:
    return (await world.legacy()).call("time__echo")


async def _modern_call(world: World) -> Any:
    return call(world)


async def _parked_call(world: World) -> Any:
    await world.add("time", Era.LEGACY)
    return call(world)


@pytest.mark.parametrize("begin", [_legacy_call, _modern_call, _parked_call])
async def test_a_call_that_the_hub_itself_ends_is_kept(
    world: World, begin: Callable[[World], Any]
) -> None:
    world.held.hangs = True
    visit = await begin(world)
    await soon(world.held.begun.wait())

    world.face.close()
    answer = await visit.json()

    assert answer["result"]["_meta"]["agenthub/error"]["code"] == "stopping"
    await eventually(lambda: world.held.ends == ["kept"])


@pytest.mark.parametrize("begin", [_modern_call, _parked_call])
async def test_a_call_whose_modern_agent_leaves_is_withdrawn(
    world: World, begin: Callable[[World], Any]
) -> None:
    world.held.hangs = True
    visit = await begin(world)
    await soon(world.held.begun.wait())

    visit.hang_up()

    await eventually(lambda: world.held.ends == ["withdrawn"])
