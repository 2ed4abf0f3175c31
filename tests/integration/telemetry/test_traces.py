"""Traces of a hub in its own process, as a collector and the servers behind it see them."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.agents import Agent, AgentEra, error_facts, text_of
from tests.support.collector import Collector, Kind, SeenSpan, Status
from tests.support.fixture_process import FixtureProcess
from tests.support.hub_process import OWNER_TOKEN, HubProcess

pytestmark = pytest.mark.e2e

EXPORT_KEY = "collector-key-0123456789"
SAMPLED = 1
MARK = "an-argument-nobody-may-read"
ERAS = [pytest.param(era, id=f"{era}-agent") for era in AgentEra]
UPSTREAMS = ["old", "new"]
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Traced:
    hub: HubProcess
    collector: Collector

    @asynccontextmanager
    async def agent(self, era: AgentEra = AgentEra.MODERN) -> AsyncGenerator[Agent]:
        async with Agent(self.hub.url("/mcp"), self.hub.token, era) as made:
            yield made


@dataclass(frozen=True, slots=True)
class Context:
    """What an agent sends of its own trace."""

    trace_id: str
    span_id: str
    flags: str = "01"

    @property
    def meta(self) -> dict[str, Any]:
        return {
            "traceparent": f"00-{self.trace_id}-{self.span_id}-{self.flags}",
            "tracestate": "vendor=a-1,other=b",
            "baggage": "user=ada",
        }


def new_context(flags: str = "01") -> Context:
    number = next(_numbers)
    return Context(f"{number:032x}", f"{number + 4096:016x}", flags)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    folder = tmp_path_factory.mktemp("traces")
    transport = ("--transport", "http")
    with (
        Collector() as collector,
        FixtureProcess("era_server", "--era", "legacy", *transport, log_dir=folder) as old,
        FixtureProcess("era_server", "--era", "modern", *transport, log_dir=folder) as new,
        HubProcess(
            folder / "hub",
            env={
                **collector.settings(),
                "AGENTHUB_TELEMETRY__HEADERS": json.dumps({"x-key": EXPORT_KEY}),
            },
        ) as hub,
    ):
        hub.register_http("old", old.url)
        hub.register_http("new", new.url)
        yield Traced(hub, collector)


async def seen_by_server(agent: Agent, tool: str, meta: dict[str, Any]) -> dict[str, Any]:
    """Have a server tell the `_meta` that it was sent."""
    params = {"name": tool, "arguments": {}, "_meta": meta}
    return json.loads(text_of(await agent.request("tools/call", params)))["meta"]


def by_kind(spans: list[SeenSpan]) -> dict[Kind, SeenSpan]:
    assert len(spans) == len({span.kind for span in spans}), spans
    return {span.kind: span for span in spans}


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("era", ERAS)
async def test_a_trace_goes_from_the_agent_through_the_hub_to_the_server(
    traced: Traced, era: AgentEra, upstream: str
) -> None:
    context = new_context()
    async with traced.agent(era) as agent:
        meta = await seen_by_server(agent, f"{upstream}__who_asks", context.meta)
    spans = by_kind(await traced.collector.trace(context.trace_id, spans=2))
    server, client = spans[Kind.SERVER], spans[Kind.CLIENT]
    assert (server.parent_id, client.parent_id) == (context.span_id, server.span_id)
    assert meta["traceparent"] == f"00-{context.trace_id}-{client.span_id}-01"
    assert (meta["tracestate"], meta["baggage"]) == ("vendor=a-1,other=b", "user=ada")


async def test_spans_are_named_as_the_conventions_say(traced: Traced) -> None:
    context = new_context()
    async with traced.agent() as agent:
        await seen_by_server(agent, "new__who_asks", context.meta)
    spans = by_kind(await traced.collector.trace(context.trace_id, spans=2))
    wanted = {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "who_asks",
        "gen_ai.operation.name": "execute_tool",
    }
    for span in spans.values():
        assert (span.name, span.service) == ("tools/call who_asks", "agenthub")
        assert (span.status, span.events) == (Status.UNSET, 0)
    assert spans[Kind.SERVER].attributes == wanted
    assert spans[Kind.CLIENT].attributes == {**wanted, "agenthub.server": "new"}


async def test_what_is_read_is_traced_by_its_method(traced: Traced) -> None:
    context = new_context()
    async with traced.agent(AgentEra.LEGACY) as agent:
        uri = (await agent.request("resources/list", {}))["result"]["resources"][0]["uri"]
        answer = await agent.request("resources/read", {"uri": uri, "_meta": context.meta})
    assert "result" in answer
    spans = by_kind(await traced.collector.trace(context.trace_id, spans=2))
    assert {span.name for span in spans.values()} == {"resources/read"}
    assert "gen_ai.tool.name" not in spans[Kind.SERVER].attributes


@pytest.mark.parametrize("sent", [None, "00-nonsense", f"00-{0:032x}-{0:016x}-01", 5, {"a": 1}])
async def test_without_a_context_of_the_agents_the_trace_begins_at_the_hub(
    traced: Traced, sent: Any
) -> None:
    meta = {} if sent is None else {"traceparent": sent}
    async with traced.agent() as agent:
        given = await seen_by_server(agent, "new__who_asks", meta)
    _, trace_id, span_id, flags = given["traceparent"].split("-")
    spans = by_kind(await traced.collector.trace(trace_id, spans=2))
    assert (spans[Kind.SERVER].parent_id, spans[Kind.CLIENT].span_id) == ("", span_id)
    assert int(trace_id, 16) > 0
    assert int(flags, 16) & SAMPLED


async def test_a_trace_that_the_agent_does_not_record_is_carried_on_only(traced: Traced) -> None:
    hidden, shown = new_context("00"), new_context()
    async with traced.agent() as agent:
        given = await seen_by_server(agent, "new__who_asks", hidden.meta)
        await seen_by_server(agent, "new__who_asks", shown.meta)
    _, trace_id, _, flags = given["traceparent"].split("-")
    assert (trace_id, flags) == (hidden.trace_id, "00")
    await traced.collector.trace(shown.trace_id, spans=2)
    assert hidden.trace_id not in {span.trace_id for span in traced.collector.spans}


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize(("tool", "error"), [("refuse", "4242"), ("fail", "tool_error")])
async def test_a_failure_at_the_server_is_named_on_both_spans(
    traced: Traced, upstream: str, tool: str, error: str
) -> None:
    context = new_context()
    params = {"name": f"{upstream}__{tool}", "arguments": {}, "_meta": context.meta}
    async with traced.agent() as agent:
        answer = await agent.request("tools/call", params)
    assert error_facts(answer) is not None
    spans = by_kind(await traced.collector.trace(context.trace_id, spans=2))
    for span in spans.values():
        assert (span.attributes["error.type"], span.status) == (error, Status.ERROR)


async def test_a_call_that_a_guard_holds_back_has_no_span_at_the_server(traced: Traced) -> None:
    context = new_context()
    gate = "/api/gateway/servers/old"
    assert traced.hub.rest("POST", f"{gate}/force-open").status == 200
    try:
        params = {"name": "old__who_asks", "arguments": {}, "_meta": context.meta}
        async with traced.agent() as agent:
            answer = await agent.request("tools/call", params)
    finally:
        assert traced.hub.rest("POST", f"{gate}/reset").status == 200
    assert error_facts(answer) is not None
    [span] = await traced.collector.trace(context.trace_id, spans=1)
    assert (span.kind, span.status) == (Kind.SERVER, Status.ERROR)
    assert span.attributes["error.type"] == "circuit_open"


async def test_no_argument_and_no_secret_is_in_a_span(traced: Traced) -> None:
    contexts = [new_context() for _ in range(3)]
    calls = [
        ("new__echo", {"message": MARK}),
        ("new__slow", {"steps": MARK, "step_s": MARK}),
        ("old__slow", {"steps": MARK, "step_s": MARK}),
    ]
    async with traced.agent() as agent:
        for context, (name, arguments) in zip(contexts, calls, strict=True):
            params = {"name": name, "arguments": arguments, "_meta": context.meta}
            await agent.request("tools/call", params)
    for context in contexts:
        spans = await traced.collector.trace(context.trace_id, spans=2)
        assert {(span.events, span.status_message) for span in spans} == {(0, "")}
    sent = b"".join(traced.collector.bodies)
    for secret in (MARK, OWNER_TOKEN, EXPORT_KEY, "baggage", "user=ada"):
        assert secret.encode() not in sent
    assert {headers["x-key"] for headers in traced.collector.headers} == {EXPORT_KEY}
    assert EXPORT_KEY not in traced.hub.log()


async def test_calls_at_the_same_time_keep_to_their_own_traces(traced: Traced) -> None:
    contexts = [new_context() for _ in range(12)]
    async with AsyncExitStack() as stack:
        agents = [await stack.enter_async_context(traced.agent(era)) for era in AgentEra]
        seen = await asyncio.gather(
            *(
                seen_by_server(agents[n % 2], f"{UPSTREAMS[n % 2]}__who_asks", context.meta)
                for n, context in enumerate(contexts)
            )
        )
    for context, meta in zip(contexts, seen, strict=True):
        spans = by_kind(await traced.collector.trace(context.trace_id, spans=2))
        assert meta["traceparent"].split("-")[1:3] == [
            context.trace_id,
            spans[Kind.CLIENT].span_id,
        ]
        assert spans[Kind.SERVER].parent_id == context.span_id
