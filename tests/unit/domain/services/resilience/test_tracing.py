"""Spans of calls through the gateway, and the trace context on its way."""

import asyncio
import json

import pytest

from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import RpcError, TimedOutError, UpstreamError
from agenthub.domain.ports.outbound.mcp_client import (
    Answer,
    Caller,
    InputRequired,
    RawObject,
    UpstreamRequest,
)
from agenthub.domain.ports.outbound.telemetry import SpanKind
from agenthub.domain.services.calls import Deed, Errand
from agenthub.domain.services.resilience.tracing import CallTracing
from tests.fakes.telemetry import FakeTelemetry, KeptSpan
from tests.unit.domain.services.resilience.world import OTHER, SERVER, Agent, World, world

AGENT = f"00-{7:032x}-{8:016x}-01"
META: RawObject = {
    "traceparent": json.dumps(AGENT).encode(),
    "tracestate": b'"vendor=1"',
    "baggage": b'"user=ada"',
    "own": b'{"a": 1.0}',
}
NOTHING = RawObject()
GOOD = b'{"content":[]}'
BAD = b'{"content":[],"isError":true}'
SECRET = b'{"a":"s3cr3t"}'


async def call(made: World, meta: RawObject = META, tool: str = "look") -> Answer:
    params: RawObject = {"name": b'"x"', "arguments": SECRET}
    errand = Errand(Deed.CALL_TOOL, f"{SERVER}__{tool}", params, meta)
    return (await made.calls.carry(made.catalog.view_all(OWNER), errand, Agent())).answer


def sent(made: World) -> RawObject:
    return made.client.requests[-1][1].meta


def kinds(made: World) -> list[SpanKind]:
    return [span.kind for span in made.telemetry.spans]


async def test_switched_off_nothing_is_traced_and_the_agents_context_goes_on_as_it_is() -> None:
    async with world() as made:
        await call(made)
        assert made.telemetry.spans == []
        assert sent(made) == META


async def test_the_server_is_told_of_the_hubs_own_span_and_all_else_unchanged() -> None:
    async with world() as made:
        made.telemetry.on = True
        await call(made)
        server, client = made.telemetry.spans
        assert kinds(made) == [SpanKind.SERVER, SpanKind.CLIENT]
        assert (server.parent, client.parent) == (AGENT, server.traceparent)
        assert sent(made) == {**META, "traceparent": json.dumps(client.traceparent).encode()}
        assert server.is_over
        assert client.is_over


async def test_spans_have_the_names_of_the_conventions_and_no_argument() -> None:
    async with world() as made:
        made.telemetry.on = True
        await call(made)
        facts = {
            "mcp.method.name": "tools/call",
            "gen_ai.tool.name": "look",
            "gen_ai.operation.name": "execute_tool",
        }
        server, client = made.telemetry.spans
        assert {span.name for span in (server, client)} == {"tools/call look"}
        assert server.facts == facts
        assert client.facts == {**facts, "agenthub.server": SERVER}
        assert "s3cr3t" not in repr(made.telemetry.spans)


@pytest.mark.parametrize("raw", [None, b"5", b"null", b'{"a":1}', b'"nonsense"', b'""', b"{"])
async def test_what_is_no_context_begins_a_trace(raw: bytes | None) -> None:
    async with world() as made:
        made.telemetry.on = True
        await call(made, NOTHING if raw is None else {"traceparent": raw})
        server, client = made.telemetry.spans
        assert (server.parent, client.parent) == (None, server.traceparent)
        assert json.loads(sent(made)["traceparent"]) == client.traceparent


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RpcError(-32602, "s3cr3t is no number"), "-32602"),
        (TimedOutError("It is slow.", code="timed_out"), "timed_out"),
        (UpstreamError("It broke.", code="server_fault"), "server_fault"),
    ],
)
async def test_a_failure_is_named_on_both_spans_by_its_code(error: Exception, code: str) -> None:
    async with world({"retry": {"max_retries": 0}}) as made:
        made.telemetry.on = True
        made.client.results["tools/call"] = error
        with pytest.raises(type(error)):
            await call(made)
        assert [span.facts["error.type"] for span in made.telemetry.spans] == [code, code]
        assert all(span.is_failed and span.is_over for span in made.telemetry.spans)
        assert "s3cr3t" not in repr(made.telemetry.spans)


async def test_a_result_that_says_it_is_an_error_is_one_on_both_spans() -> None:
    async with world() as made:
        made.telemetry.on = True
        made.client.results["tools/call"] = BAD
        await call(made)
        assert [s.facts.get("error.type") for s in made.telemetry.spans] == ["tool_error"] * 2


async def test_a_question_is_no_error() -> None:
    async with world() as made:
        made.telemetry.on = True

        async def asks(request: UpstreamRequest, caller: Caller) -> Answer:
            return Answer(b"{}", Era.MODERN, InputRequired({}, "state"))

        made.client.handle = asks
        answer = await call(made)
        assert answer.input_required is not None
        assert [span.is_failed for span in made.telemetry.spans] == [False, False]


async def test_a_call_that_is_held_back_has_no_span_at_the_server() -> None:
    async with world() as made:
        made.telemetry.on = True
        endpoint = made.directory.endpoint_named(OWNER.workspace, SERVER)
        assert endpoint is not None
        made.gateway.server(endpoint.id).guards[0].force_open(made.clock.monotonic())
        with pytest.raises(Exception, match="operator"):
            await call(made)
        [server] = made.telemetry.spans
        assert (server.kind, server.facts["error.type"]) == (SpanKind.SERVER, "circuit_open")


async def test_each_try_has_a_span_of_its_own_below_the_one_of_the_call() -> None:
    async with world({"trusted": True}) as made:
        made.telemetry.on = True
        answers: list[bytes | Exception] = [TimedOutError("It is slow."), GOOD]
        seen: list[bytes] = []

        async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
            seen.append(request.meta["traceparent"])
            match answers.pop(0):
                case bytes() as result:
                    return Answer(result, Era.MODERN)
                case error:
                    raise error

        made.client.handle = handle
        await call(made)
        server, first, second = made.telemetry.spans
        assert (first.parent, second.parent) == (server.traceparent, server.traceparent)
        assert (first.is_failed, second.is_failed, server.is_failed) == (True, False, False)
        assert [json.loads(raw) for raw in seen] == [first.traceparent, second.traceparent]


async def test_a_fallback_is_traced_as_a_try_at_its_own_server() -> None:
    tools = {"look": {"fallback": {"server": OTHER, "tool": "look"}}}
    async with world({"servers": {SERVER: {"tools": tools}}, "retry": {"max_retries": 0}}) as made:
        await made.add(OTHER)
        made.telemetry.on = True

        async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
            if len(made.client.requests) == 1:
                raise UpstreamError("It broke.", code="server_fault")
            return Answer(GOOD, Era.MODERN)

        made.client.handle = handle
        await call(made)
        server, *tries = made.telemetry.spans
        assert [one.facts["agenthub.server"] for one in tries] == [SERVER, OTHER]
        assert {one.parent for one in tries} == {server.traceparent}
        assert not server.is_failed


async def test_a_cancelled_call_ends_its_spans() -> None:
    async with world() as made:
        made.telemetry.on = True
        made.client.held.clear()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(call(made))
            await made.client.asked.wait()
            task.cancel()
        assert [span.is_over for span in made.telemetry.spans] == [True, True]


def test_what_is_no_tool_is_named_by_its_method_alone() -> None:
    telemetry = FakeTelemetry()
    telemetry.on = True
    tracing = CallTracing(telemetry=telemetry)
    with tracing.calling("resources/read", None, SERVER, NOTHING) as step:
        assert "traceparent" in step.meta
    span: KeptSpan
    [span] = telemetry.spans
    assert span.name == "resources/read"
    assert span.facts == {"mcp.method.name": "resources/read", "agenthub.server": SERVER}
