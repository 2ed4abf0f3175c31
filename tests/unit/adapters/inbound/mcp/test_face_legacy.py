"""Legacy agents over streamable HTTP: sessions, calls, questions, cancelling."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import OWNER, Scope
from agenthub.domain.exceptions import RpcError, UnanswerableError
from agenthub.domain.ports.outbound.mcp_client import Answer, Caller, Question, UpstreamRequest
from tests.support.waiting import eventually, soon
from tests.unit.adapters.inbound.mcp.world import FORM, OK, World

pytestmark = pytest.mark.anyio
STRANGER = replace(OWNER, subject="key-2")
ELICITS = {"elicitation": {}}


async def answer_ok(request: UpstreamRequest, caller: Caller) -> Answer:
    return Answer(OK, Era.LEGACY)


async def ask_name(request: UpstreamRequest, caller: Caller) -> Answer:
    """A legacy server that elicits in the middle of the call, and says what it was told."""
    try:
        told = await caller.ask(Question("time", "elicitation/create", FORM))
    except UnanswerableError as error:
        told = json.dumps({"refused": str(error)}).encode()
    text = json.dumps(told.decode()).encode()
    return Answer(b'{"content":[{"type":"text","text":%b}]}' % text, Era.LEGACY)


def told(message: dict[str, Any]) -> Any:
    return json.loads(message["result"]["content"][0]["text"])


async def test_initialize_opens_a_session_of_the_requested_revision(world: World) -> None:
    agent = await world.legacy(version="2025-06-18")

    assert agent.hello["protocolVersion"] == "2025-06-18"
    assert len(agent.session_id) >= 24
    assert await agent.notify("notifications/initialized") == 202


async def test_a_fast_call_is_answered_in_one_piece(world: World) -> None:
    world.client.handle = answer_ok
    agent = await world.legacy()

    visit = agent.call("time__echo", arguments={"text": "hi"}, message_id="a-1")
    answer = await visit.json()

    assert visit.headers["content-type"] == "application/json"
    assert answer == {"jsonrpc": "2.0", "id": "a-1", "result": json.loads(OK)}
    _, request, _ = world.client.requests[0]
    assert request.params["name"] == b'"echo"'
    assert json.loads(request.params["arguments"]) == {"text": "hi"}


@pytest.mark.parametrize("how", ["missing", "unknown", "foreign", "elsewhere"])
async def test_requests_without_a_session_of_ones_own_are_refused(world: World, how: str) -> None:
    agent = await world.legacy()
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    visit = {
        "missing": lambda: world.post(message),
        "unknown": lambda: world.post(message, mcp_session_id="nobody"),
        "foreign": lambda: world.post(message, mcp_session_id=agent.session_id, principal=STRANGER),
        "elsewhere": lambda: world.post(
            message, "/servers/time/mcp", mcp_session_id=agent.session_id
        ),
    }[how]()

    body = await visit.json()

    assert visit.status == (400 if how == "missing" else 404)
    assert "error" in body


async def test_an_idle_session_is_gone(world: World) -> None:
    agent = await world.legacy()
    world.clock.move(1800)

    visit = agent.request("ping")
    await visit.body()

    assert visit.status == 404


async def test_delete_ends_the_session(world: World) -> None:
    agent = await world.legacy()
    gone = world.visit("DELETE", "/mcp", mcp_session_id=agent.session_id)
    await gone.body()

    visit = agent.request("ping")
    await visit.body()

    assert (gone.status, visit.status) == (204, 404)


async def test_an_unknown_revision_in_the_header_is_refused(world: World) -> None:
    agent = await world.legacy()

    visit = agent.send({"id": 1, "method": "ping"}, mcp_protocol_version="1999-01-01")
    body = await visit.json()

    assert visit.status == 400
    assert body["error"]["code"] == -32022
    assert "2025-11-25" in body["error"]["data"]["supported"]


async def test_unknown_methods_get_an_error_in_a_200(world: World) -> None:
    agent = await world.legacy()

    visit = agent.request("tools/destroy")

    assert (await visit.json())["error"]["code"] == -32601
    assert visit.status == 200


async def test_the_servers_own_error_passes_unchanged(world: World) -> None:
    world.client.results["tools/call"] = RpcError(-32603, "boom", {"a": 1})
    agent = await world.legacy()

    answer = await agent.call("time__echo").json()

    assert answer["error"] == {"code": -32603, "message": "boom", "data": {"a": 1}}


async def test_progress_turns_the_answer_into_a_stream_and_ends_before_the_result(
    world: World,
) -> None:
    late = list[Caller]()

    async def report(request: UpstreamRequest, caller: Caller) -> Answer:
        await caller.progress({"progress": b"1", "total": b"2"})
        late.append(caller)
        return Answer(OK, Era.LEGACY)

    world.client.handle = report
    agent = await world.legacy()

    visit = agent.call("time__echo", _meta={"progressToken": "t"}, message_id=5)

    assert (await visit.message())["params"] == {"progressToken": "t", "progress": 1, "total": 2}
    assert (await visit.message())["id"] == 5
    await late[0].progress({"progress": b"2"})
    assert await visit.is_over()


async def test_logs_follow_the_level_of_the_session(world: World) -> None:
    async def log(request: UpstreamRequest, caller: Caller) -> Answer:
        await caller.log({"level": b'"info"', "data": b'"quiet"'})
        await caller.log({"level": b'"error"', "data": b'"loud"'})
        return Answer(OK, Era.LEGACY)

    world.client.handle = log
    agent = await world.legacy()
    await agent.request("logging/setLevel", {"level": "warning"}).body()

    visit = agent.call("time__echo")

    assert (await visit.message())["params"]["data"] == "loud"
    assert "result" in await visit.message()


async def test_a_question_reaches_the_agent_on_the_stream_of_its_call(world: World) -> None:
    world.client.handle = ask_name
    agent = await world.legacy(ELICITS)

    visit = agent.call("time__echo")
    question = await visit.message()
    status = await agent.answer(question, {"action": "accept", "content": {"name": "Ada"}})

    assert question["method"] == "elicitation/create"
    assert status == 202
    assert told(await visit.message()) == {"action": "accept", "content": {"name": "Ada"}}


async def test_an_agent_that_declared_nothing_is_not_asked(world: World) -> None:
    world.client.handle = ask_name
    agent = await world.legacy()

    answer = await agent.call("time__echo").json()

    assert "elicitation" in told(answer)["refused"]
    assert "'time'" in told(answer)["refused"]


async def test_an_answer_counts_in_its_own_session_only(world: World) -> None:
    world.client.handle = ask_name
    agent, other = await world.legacy(ELICITS), await world.legacy(ELICITS)
    visit, others = agent.call("time__echo"), other.call("time__echo")
    question, foreign = await visit.message(), await others.message()
    assert question["id"] == foreign["id"]

    await other.answer(foreign, {"action": "decline"})

    assert told(await others.message()) == {"action": "decline"}
    await agent.answer(question, {"action": "cancel"})
    assert told(await visit.message()) == {"action": "cancel"}


async def test_an_error_as_answer_reaches_the_server(world: World) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def ask(request: UpstreamRequest, caller: Caller) -> Answer:
        try:
            await caller.ask(Question("time", "elicitation/create", FORM))
        except RpcError as error:
            heard.set_result((error.code, error.message))
        return Answer(OK, Era.LEGACY)

    world.client.handle = ask
    agent = await world.legacy(ELICITS)
    visit = agent.call("time__echo")
    question = await visit.message()

    await agent.send({"id": question["id"], "error": {"code": -1, "message": "no"}}).body()

    assert await soon(heard) == (-1, "no")


async def test_hanging_up_does_not_cancel_but_nobody_can_be_asked(world: World) -> None:
    finished = asyncio.Event()

    async def ask_twice(request: UpstreamRequest, caller: Caller) -> Answer:
        answer = await ask_name(request, caller)
        finished.set()
        return answer

    world.client.handle = ask_twice
    agent = await world.legacy(ELICITS)
    visit = agent.call("time__echo")
    await visit.message()

    visit.hang_up()

    await soon(finished.wait())


async def test_cancelled_requests_are_cancelled_at_the_server_and_get_no_answer(
    world: World,
) -> None:
    world.client.held.clear()
    cancelled = asyncio.Event()
    hold = world.client.held.wait

    async def wait() -> bool:
        try:
            return await hold()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    world.client.held.wait = wait  # pyright: ignore[reportAttributeAccessIssue]
    agent = await world.legacy()
    visit = agent.call("time__echo", message_id=9)
    await soon(world.client.asked.wait())

    status = await agent.notify("notifications/cancelled", {"requestId": 9})

    await soon(cancelled.wait())
    assert status == 202
    assert await visit.is_over()


async def test_nobody_cancels_the_request_of_another_session(world: World) -> None:
    world.client.held.clear()
    agent, other = await world.legacy(), await world.legacy()
    visit = agent.call("time__echo", message_id=9)
    await soon(world.client.asked.wait())

    await other.notify("notifications/cancelled", {"requestId": 9})
    world.client.held.set()

    assert (await visit.json())["id"] == 9


async def test_an_id_in_use_in_the_session_is_refused(world: World) -> None:
    world.client.held.clear()
    agent = await world.legacy()
    first = agent.call("time__echo", message_id=9)
    await soon(world.client.asked.wait())

    second = await agent.call("time__echo", message_id=9).json()
    world.client.held.set()

    assert second["error"]["code"] == -32600
    assert "error" not in await first.json()
    assert len(world.client.requests) == 1


async def test_equal_ids_of_many_sessions_never_cross(world: World) -> None:
    gate = asyncio.Barrier(20)

    async def echo(request: UpstreamRequest, caller: Caller) -> Answer:
        await soon(gate.wait())
        return Answer(
            b'{"content":[],"structuredContent":%b}' % request.params["arguments"], Era.LEGACY
        )

    world.client.handle = echo
    agents = [await world.legacy() for _ in range(20)]

    visits = [
        agent.call("time__echo", arguments={"n": n}, message_id=1) for n, agent in enumerate(agents)
    ]

    for n, visit in enumerate(visits):
        assert (await visit.json())["result"]["structuredContent"] == {"n": n}


async def test_changes_of_lists_are_told_on_the_standalone_stream(world: World) -> None:
    agent = await world.legacy()
    stream = agent.listen()
    await stream.begun()

    world.offer(next(iter(world.client.kept)), "echo", "shout")

    methods = {(await stream.message())["method"] for _ in range(3)}
    assert "notifications/tools/list_changed" in methods
    stream.hang_up()


async def test_a_change_before_the_stream_is_told_once_it_is_open(world: World) -> None:
    agent = await world.legacy()
    endpoint_id = next(iter(world.client.kept))
    await agent.request("resources/subscribe", {"uri": "time+demo://a"}).body()
    world.client.change_resource(endpoint_id, "demo://a")

    stream = agent.listen()

    assert (await stream.message())["params"] == {"uri": "time+demo://a"}
    stream.hang_up()


async def test_a_session_that_ends_lets_go_of_its_subscriptions(world: World) -> None:
    agent = await world.legacy()
    await agent.request("resources/subscribe", {"uri": "time+demo://a"}).body()
    assert world.client.watches

    await world.visit("DELETE", "/mcp", mcp_session_id=agent.session_id).body()

    await eventually(lambda: not world.client.watches)


async def test_a_key_without_the_scope_may_not_call(world: World) -> None:
    key = replace(OWNER, subject="key-1", scopes=frozenset({Scope.RESOURCES_READ}))
    agent = await world.legacy(principal=key)

    visit = agent.call("time__echo")
    await visit.body()

    assert visit.status == 403
    assert not world.client.requests


async def test_get_without_a_session_is_not_allowed(world: World) -> None:
    visit = world.visit("GET", "/mcp", accept="text/event-stream")
    await visit.body()

    assert visit.status == 405


async def test_stopping_ends_open_streams(world: World) -> None:
    agent = await world.legacy()
    stream = await agent.listen().begun()

    world.face.close()

    assert await stream.is_over()
