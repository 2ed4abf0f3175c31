"""Modern agents (2026-07-28): one request at a time, and questions between two requests."""

import asyncio
import json
from typing import Any

import pytest

from agenthub.adapters.inbound.mcp.wire import Limits
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.exceptions import UnavailableError
from agenthub.domain.ports.outbound.mcp_client import (
    Answer,
    Caller,
    InputRequired,
    Question,
    UpstreamRequest,
)
from tests.support.waiting import eventually, soon
from tests.unit.adapters.inbound.mcp.test_face_legacy import ask_name, told
from tests.unit.adapters.inbound.mcp.world import FORM, OK, World

pytestmark = pytest.mark.anyio
ELICITS = {"elicitation": {}}
ACCEPT = {"action": "accept", "content": {}}


async def answer_ok(request: UpstreamRequest, caller: Caller) -> Answer:
    return Answer(OK, Era.MODERN)


async def relay(request: UpstreamRequest, caller: Caller) -> Answer:
    """A modern server: asks first, and is satisfied by its own state and any answer."""
    if request.params.get("requestState") == b'"upstream-state"':
        said = request.params["inputResponses"]
        return Answer(b'{"content":[],"structuredContent":%b}' % said, Era.MODERN)
    needed = InputRequired({"who": Question("time", "elicitation/create", FORM)}, "upstream-state")
    return Answer(b"{}", Era.MODERN, needed)


def call(world: World, **how: Any) -> Any:
    """Call the tool of the one server; keywords of the params and of `World.modern`."""
    params = {"name": "time__echo", "arguments": how.pop("arguments", {"a": 1})}
    for name in ("inputResponses", "requestState"):
        if name in how:
            params[name] = how.pop(name)
    return world.modern("tools/call", params, capabilities=how.pop("capabilities", ELICITS), **how)


@pytest.fixture
async def old(world: World) -> World:
    """A world whose one server is a legacy one that asks in mid-call."""
    await world.add("time", Era.LEGACY)
    world.client.handle = ask_name
    return world


async def test_a_call_is_answered_in_one_piece_with_a_result_type(world: World) -> None:
    world.client.handle = answer_ok

    visit = call(world, message_id="x")
    answer = await visit.json()

    assert visit.headers["content-type"] == "application/json"
    assert answer["id"] == "x"
    assert answer["result"]["resultType"] == "complete"
    assert answer["result"]["content"] == [{"type": "text", "text": "ok"}]


async def test_discover_names_the_revision_and_the_lists_come_whole(world: World) -> None:
    hello = (await world.modern("server/discover").json())["result"]
    tools = (await world.modern("tools/list").json())["result"]

    assert "2026-07-28" in hello["supportedVersions"]
    assert [tool["name"] for tool in tools["tools"]] == ["time__echo"]
    assert tools["cacheScope"] == "private"


@pytest.mark.parametrize(
    ("method", "how", "status", "code"),
    [
        ("nonsense/do", {}, 404, -32601),
        ("initialize", {}, 404, -32601),
        ("initialize", {"mcp_method": "tools/list"}, 400, -32020),
        ("tools/list", {"mcp_method": "prompts/list"}, 400, -32020),
        ("tools/list", {"mcp_protocol_version": "2025-11-25"}, 400, -32020),
        ("tools/list", {"meta": {"io.modelcontextprotocol/clientCapabilities": 1}}, 400, -32602),
        (
            "tools/list",
            {
                "meta": {"io.modelcontextprotocol/protocolVersion": "2099-01-01"},
                "mcp_protocol_version": "2099-01-01",
            },
            400,
            -32022,
        ),
        ("ping", {}, 404, -32601),
    ],
)
async def test_what_the_revision_forbids_is_refused(
    world: World, method: str, how: dict[str, Any], status: int, code: int
) -> None:
    visit = world.modern(method, **how)
    body = await visit.json()

    assert (visit.status, body["error"]["code"]) == (status, code)


async def test_a_header_that_names_another_tool_is_refused_and_nothing_is_called(
    world: World,
) -> None:
    visit = call(world, mcp_name="other")

    assert (await visit.json())["error"]["code"] == -32020
    assert visit.status == 400
    assert not world.client.requests


async def test_an_unreachable_server_is_a_result_that_the_model_can_read(world: World) -> None:
    world.client.results["tools/call"] = UnavailableError("The server is away.")

    answer = await call(world).json()

    assert answer["result"]["isError"] is True


async def test_hanging_up_cancels_the_call(world: World) -> None:
    cancelled = asyncio.Event()

    async def hang(request: UpstreamRequest, caller: Caller) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    world.client.handle = hang
    visit = call(world)
    await soon(world.client.asked.wait())

    visit.hang_up()

    await soon(cancelled.wait())


async def test_logs_come_only_when_the_request_asks_for_them(world: World) -> None:
    async def log(request: UpstreamRequest, caller: Caller) -> Answer:
        await caller.log({"level": b'"error"', "data": b'"x"'})
        return Answer(OK, Era.MODERN)

    world.client.handle = log
    silent = call(world)
    loud = call(world, meta={"io.modelcontextprotocol/logLevel": "info"})

    assert "result" in await silent.json()
    assert (await loud.message())["method"] == "notifications/message"
    assert "result" in await loud.message()


async def test_questions_of_a_modern_server_pass_and_its_state_comes_back(world: World) -> None:
    world.client.handle = relay

    first = (await call(world).json())["result"]
    done = await call(
        world, inputResponses={"who": ACCEPT}, requestState=first["requestState"]
    ).json()

    assert first["resultType"] == "input_required"
    assert first["inputRequests"]["who"]["method"] == "elicitation/create"
    assert "upstream-state" not in json.dumps(first["inputRequests"])
    assert done["result"]["structuredContent"] == {"who": ACCEPT}


async def test_what_the_agent_did_not_declare_is_not_asked(world: World) -> None:
    world.client.handle = relay

    answer = await call(world, capabilities={}).json()

    assert "inputRequests" not in json.dumps(answer)
    assert "elicitation" in json.dumps(answer)


async def test_a_legacy_servers_question_is_parked_and_the_retry_ends_the_call(
    old: World,
) -> None:
    first = (await call(old).json())["result"]
    key = next(iter(first["inputRequests"]))

    done = await call(
        old, inputResponses={key: ACCEPT, "else": {}}, requestState=first["requestState"]
    ).json()

    assert first["resultType"] == "input_required"
    assert told(done) == ACCEPT
    assert len(old.client.requests) == 1


@pytest.mark.parametrize("what", ["replayed", "altered", "foreign arguments", "expired"])
async def test_a_ticket_serves_once_and_for_its_own_request(old: World, what: str) -> None:
    first = (await call(old).json())["result"]
    key, state = next(iter(first["inputRequests"])), first["requestState"]
    how: dict[str, Any] = {"inputResponses": {key: ACCEPT}, "requestState": state}
    match what:
        case "replayed":
            await call(old, **how).json()
        case "altered":
            how["requestState"] = state[:-2] + ("AA" if state[-2:] != "AA" else "BB")
        case "foreign arguments":
            how["arguments"] = {"a": 2}
        case _:
            old.clock.move(601)

    visit = call(old, **how)

    assert (await visit.json())["error"]["code"] == -32602
    assert len(old.client.requests) == 1


async def test_a_question_that_the_agent_did_not_declare_is_refused_by_what_is_missing(
    world: World,
) -> None:
    async def ask_much(request: UpstreamRequest, caller: Caller) -> Answer:
        asked = {
            "who": Question("time", "elicitation/create", FORM),
            "what": Question("time", "sampling/createMessage", b'{"messages":[]}'),
        }
        return Answer(b"{}", Era.MODERN, InputRequired(asked, None))

    world.client.handle = ask_much

    visit = call(world, capabilities={"roots": {}})
    error = (await visit.json())["error"]

    assert (visit.status, error["code"]) == (400, -32021)
    assert error["data"]["requiredCapabilities"] == {"elicitation": {}, "sampling": {}}


@pytest.mark.parametrize("answer", [None, {"action": "sure"}, {"action": "accept", "content": []}])
async def test_a_missing_or_misshapen_answer_is_asked_for_again(old: World, answer: Any) -> None:
    first = (await call(old).json())["result"]
    key = next(iter(first["inputRequests"]))
    given = {} if answer is None else {key: answer}

    again = (await call(old, inputResponses=given, requestState=first["requestState"]).json())[
        "result"
    ]
    done = await call(old, inputResponses={key: ACCEPT}, requestState=again["requestState"]).json()

    assert list(again["inputRequests"]) == [key]
    assert again["requestState"] != first["requestState"]
    assert told(done) == ACCEPT


async def test_questions_asked_at_once_go_out_together(old: World) -> None:
    async def ask_both(request: UpstreamRequest, caller: Caller) -> Answer:
        question = Question("time", "elicitation/create", FORM)
        await asyncio.gather(caller.ask(question), caller.ask(question))
        return Answer(OK, Era.LEGACY)

    old.client.handle = ask_both

    first = (await call(old).json())["result"]
    answers = dict.fromkeys(first["inputRequests"], ACCEPT)
    done = await call(old, inputResponses=answers, requestState=first["requestState"]).json()

    assert len(answers) == 2
    assert done["result"]["content"][0]["text"] == "ok"


async def test_an_abandoned_ticket_cancels_the_call() -> None:
    cancelled = asyncio.Event()

    async def ask(request: UpstreamRequest, caller: Caller) -> Answer:
        try:
            return await ask_name(request, caller)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with World(Limits(park_ttl_s=0.01)) as world:
        await world.add("time", Era.LEGACY)
        world.client.handle = ask
        await call(world).json()

        await soon(cancelled.wait())


async def test_a_subscription_is_acknowledged_first_and_tells_only_what_was_wanted(
    world: World,
) -> None:
    wanted = {"toolsListChanged": True, "resourceSubscriptions": ["time+demo://a", "no+x://y"]}
    endpoint_id = next(iter(world.client.kept))

    stream = world.modern("subscriptions/listen", {"notifications": wanted}, message_id="s-1")
    ack = (await stream.message())["params"]
    world.client.change_resource(endpoint_id, "demo://a")
    world.offer(endpoint_id, "echo", "shout")
    updated, changed = await stream.message(), await stream.message()

    mark = {"io.modelcontextprotocol/subscriptionId": "s-1"}
    assert ack["_meta"] == mark
    assert ack["notifications"] == {
        "toolsListChanged": True,
        "resourceSubscriptions": ["time+demo://a"],
    }
    assert updated["params"] == {"_meta": mark, "uri": "time+demo://a"}
    assert changed["method"] == "notifications/tools/list_changed"
    stream.hang_up()
    await eventually(lambda: not world.client.watches)


async def test_stopping_ends_a_subscription_with_its_result(world: World) -> None:
    stream = world.modern("subscriptions/listen", {"notifications": {}}, message_id=7)
    await stream.message()

    world.face.close()

    last = await stream.message()
    assert (last["id"], last["result"]["resultType"]) == (7, "complete")
    assert last["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 7
    assert await stream.is_over()


async def test_completion_and_prompts_and_resources_lead_to_the_servers_own_names(
    world: World,
) -> None:
    world.client.results |= {
        "prompts/get": b'{"messages":[]}',
        "resources/read": b'{"contents":[{"uri":"demo://a","text":"x"}]}',
        "completion/complete": b'{"completion":{"values":["v"]}}',
    }
    ref = {"type": "ref/prompt", "name": "time__greet"}

    await world.modern("prompts/get", {"name": "time__greet"}).json()
    read = await world.modern("resources/read", {"uri": "time+demo://a"}).json()
    completion = {"ref": ref, "argument": {"name": "a", "value": ""}}
    await world.modern("completion/complete", completion).json()

    prompt, resource, complete = [request.params for _, request, _ in world.client.requests]
    assert prompt["name"] == b'"greet"'
    assert resource["uri"] == b'"demo://a"'
    assert json.loads(complete["ref"]) == {"type": "ref/prompt", "name": "greet"}
    assert read["result"]["contents"][0]["uri"] == "time+demo://a"
