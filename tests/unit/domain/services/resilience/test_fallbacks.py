"""An answer in the place of one that could not be had says that it is one."""

import json

import pytest

from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import OWNER, Scope
from agenthub.domain.exceptions import HeldBackError, OverLimitError, RpcError, TimedOutError
from agenthub.domain.ports.outbound.mcp_client import Answer, Caller, UpstreamRequest
from tests.unit.domain.services.resilience.world import OTHER, SERVER, World, world
from tests.unit.domain.services.samples import bound_to, group, with_scopes

KEY = with_scopes(Scope.TOOLS_CALL)
GOOD = b'{"content":[{"type":"text","text":"5"}]}'


def policy(**fallback: object) -> dict[str, object]:
    tools = {"add": {"fallback": fallback}}
    return {"servers": {SERVER: {"tools": tools}}, "retry": {"max_retries": 0}}


def fail_first(made: World, error: Exception) -> None:
    failing = made.directory.endpoint_named(KEY.workspace, SERVER)
    assert failing is not None

    async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
        if made.client.requests[-1][0] == failing.id:
            raise error
        return Answer(GOOD, Era.MODERN)

    made.client.handle = handle


async def test_another_servers_tool_answers_and_is_named() -> None:
    async with world(policy(server=OTHER, tool="look")) as made:
        await made.add(OTHER)
        fail_first(made, TimedOutError("It is slow."))
        outcome = await made.call(arguments=b'{"a":1}')
        said = json.loads(outcome.answer.result)
        assert said["content"][0]["text"] == "5"
        assert "instead" in said["content"][-1]["text"]
        assert said["_meta"]["agenthub/fallback"] == {
            "instead_of": {"server": SERVER, "tool": "add"},
            "reason": "server_timeout",
            "source": "tool",
            "server": OTHER,
            "tool": "look",
        }
        assert outcome.target.server == OTHER
        sent = made.client.requests[-1][1].params
        assert (sent["name"], sent["arguments"]) == (b'"look"', b'{"a":1}')
        assert [(e.party.server, e.status.value) for e in await made.entries()] == [
            (SERVER, "error"),
            (OTHER, "ok"),
        ]


async def test_an_open_breaker_calls_for_the_fallback_too() -> None:
    async with world(policy(server=OTHER, tool="look")) as made:
        await made.add(OTHER)
        fail_first(made, TimedOutError("It is slow."))
        reasons = {
            json.loads((await made.call()).answer.result)["_meta"]["agenthub/fallback"]["reason"]
            for _ in range(8)
        }
        assert reasons == {"server_timeout", "circuit_open"}


async def test_a_caller_gets_no_tool_by_fallback_that_it_may_not_call() -> None:
    async with world(policy(server=OTHER, tool="look")) as made:
        await made.add(OTHER)
        made.directory.put_group(group("g", SERVER))
        fail_first(made, TimedOutError("It is slow."))
        with pytest.raises(TimedOutError):
            await made.call(principal=bound_to("g"))
        made.directory.put_group(group("g", SERVER, OTHER))
        await made.call(principal=bound_to("g"))


async def test_errors_of_the_caller_and_limits_of_the_hub_call_for_none() -> None:
    rules = policy(server=OTHER, tool="look")
    rules["caller_rate_limit"] = {"rate_per_s": 1, "burst": 1}
    async with world(rules) as made:
        await made.add(OTHER)
        fail_first(made, RpcError(-32602, "bad arguments"))
        with pytest.raises(RpcError):
            await made.call()
        with pytest.raises(OverLimitError):
            await made.call()


async def test_the_last_good_answer_serves_for_its_time_and_its_caller_only() -> None:
    async with world(policy(cached_for_s=60)) as made:
        made.client.results["tools/call"] = GOOD
        await made.call(arguments=b'{"a":1}')
        made.client.results["tools/call"] = TimedOutError("It is slow.")
        made.clock.advance(30)
        outcome = await made.call(arguments=b'{"a":1}')
        said = json.loads(outcome.answer.result)
        assert said["_meta"]["agenthub/fallback"]["source"] == "cache"
        assert said["_meta"]["agenthub/fallback"]["age_s"] == 30
        for caller, arguments in ((KEY, b'{"a":1}'), (OWNER, b'{"a":2}')):
            with pytest.raises((TimedOutError, HeldBackError)):
                await made.call(principal=caller, arguments=arguments)
        made.clock.advance(31)
        with pytest.raises((TimedOutError, HeldBackError)):
            await made.call(arguments=b'{"a":1}')


async def test_an_error_of_the_tool_is_not_kept_as_a_good_answer() -> None:
    async with world(policy(cached_for_s=60)) as made:
        made.client.results["tools/call"] = b'{"content":[],"isError":true}'
        await made.call()
        made.client.results["tools/call"] = TimedOutError("It is slow.")
        with pytest.raises(TimedOutError):
            await made.call()


async def test_a_fallback_that_fails_as_well_leaves_the_first_error() -> None:
    async with world(policy(server=OTHER, tool="look")) as made:
        await made.add(OTHER)
        made.client.results["tools/call"] = TimedOutError("It is slow.")
        with pytest.raises(TimedOutError, match="slow"):
            await made.call()
