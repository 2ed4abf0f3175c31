"""The gateway over REST: looked at, moved by hand, and what callers of either face then get."""

import asyncio
import logging
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agenthub.domain.entities.resilience.circuit_breaker import State
from agenthub.domain.exceptions import UpstreamError
from tests.integration.http.world import ECHO, TOKEN, Served, bearer, body_of
from tests.support.agents import Agent, AgentEra, error_facts, text_of
from tests.support.waiting import eventually, soon

GATES = "/api/gateway/servers"
CALL = "/api/mcp/servers/demo/tools/add_numbers"
LEVERS = [("force-open", "forced_open"), ("disable", "disabled"), ("reset", "closed")]
TOOL = "demo__add_numbers"


async def gate_of(hub: Served, server: str = "demo") -> dict[str, Any]:
    answer = await hub.http.get(f"{GATES}/{server}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def call(hub: Served, **more: Any):
    return await hub.http.post(CALL, json={"arguments": {}}, **more)


async def limit_to_one(hub: Served) -> None:
    patch = {"rate_limit": {"rate_per_s": 0.01, "burst": 1}}
    answer = await hub.http.patch(f"{GATES}/demo/policy", json=patch)
    assert answer.status_code == 200, answer.text


async def test_the_guards_of_a_server_are_shown_by_name_and_by_id(hub: Served) -> None:
    server = await hub.register()
    gate = await gate_of(hub)
    assert gate == await gate_of(hub, server["id"])
    [instance] = gate["instances"]
    assert (instance["id"], instance["breaker"]["state"]) == (server["id"], "closed")
    assert (instance["in_flight"], instance["queued"], instance["outstanding"]) == (0, 0, 0)
    assert (gate["limiter"], gate["tools"]) == (None, [])


async def test_all_servers_are_listed_by_name_page_by_page(hub: Served) -> None:
    for name in ("zoo", "ant", "cat"):
        await hub.register(name)
    first = (await hub.http.get(GATES, params={"limit": 2})).json()
    second = (await hub.http.get(GATES, params={"cursor": first["next_cursor"]})).json()
    assert [one["name"] for one in first["items"] + second["items"]] == ["ant", "cat", "zoo"]


async def test_calls_under_way_and_breakers_of_tools_are_shown(hub: Served) -> None:
    await hub.register()
    hub.world.client.held.clear()
    async with asyncio.TaskGroup() as group:
        calling = group.create_task(call(hub))
        await soon(hub.world.client.asked.wait())
        [instance] = (await gate_of(hub))["instances"]
        hub.world.client.held.set()
        assert (await soon(calling)).status_code == 200
    assert (instance["in_flight"], instance["outstanding"]) == (1, 1)
    after = await gate_of(hub)
    assert after["instances"][0]["in_flight"] == 0
    assert [(one["tool"], one["breaker"]["state"]) for one in after["tools"]] == [
        ("add_numbers", "closed")
    ]


async def test_a_limit_is_shown_with_what_is_left_of_it(hub: Served) -> None:
    await hub.register()
    await limit_to_one(hub)
    assert (await gate_of(hub))["limiter"] == {"rate_per_s": 0.01, "burst": 1, "tokens": 1}
    await call(hub)
    assert (await gate_of(hub))["limiter"]["tokens"] < 0.5


@pytest.mark.parametrize(("lever", "state"), LEVERS)
async def test_a_lever_moves_the_breaker_of_every_instance(
    hub: Served, lever: str, state: str
) -> None:
    server = await hub.register()
    for body in (None, {"instance": None}, {"instance": server["id"]}):
        moved = await hub.http.post(f"{GATES}/demo/{lever}", json=body)
        assert moved.status_code == 200, moved.text
        assert [one["breaker"]["state"] for one in moved.json()["instances"]] == [state]
    assert (await gate_of(hub))["instances"][0]["breaker"]["state"] == state


async def test_one_instance_is_switched_off_and_the_other_takes_its_calls(hub: Served) -> None:
    server = await hub.register()
    transport = {"type": "streamable-http", "url": "http://127.0.0.1:9/other"}
    hub.world.client.offers_at["http://127.0.0.1:9/other"] = offered(hub, server)
    place = "/api/mcp/servers/demo/instances"
    other = await hub.http.post(place, json={"transport": transport})
    assert other.status_code == 201, other.text
    body = {"instance": server["id"]}
    moved = (await hub.http.post(f"{GATES}/demo/force-open", json=body)).json()
    states = {one["id"]: one["breaker"]["state"] for one in moved["instances"]}
    assert states == {server["id"]: "forced_open", other.json()["id"]: "closed"}
    assert [(await call(hub)).status_code for _ in range(3)] == [200] * 3
    assert {str(sent[0]) for sent in hub.world.client.requests} == {other.json()["id"]}


def offered(hub: Served, server: dict[str, Any]):
    client = hub.world.client
    return client.catalog(server["id"], client.state(server["id"]).eras[0])


async def test_a_server_that_is_switched_off_refuses_until_it_is_reset(hub: Served) -> None:
    await hub.register()
    await hub.http.post(f"{GATES}/demo/force-open")
    refused = await call(hub)
    assert (refused.status_code, body_of(refused)["code"]) == (503, "circuit_open")
    assert "retry-after" not in refused.headers, "nobody knows when an operator lets it go"
    assert hub.world.client.requests == []
    await hub.http.post(f"{GATES}/demo/reset")
    assert (await call(hub)).status_code == 200


@pytest.mark.parametrize("era", AgentEra)
async def test_an_agent_reads_that_a_server_is_switched_off(hub: Served, era: AgentEra) -> None:
    await hub.register()
    await hub.http.post(f"{GATES}/demo/force-open")
    async with Agent(f"{hub.url}/mcp", TOKEN, era) as agent:
        message = await agent.call(TOOL, {})
        assert message["result"]["isError"] is True
        facts = error_facts(message)
        assert facts is not None
        assert (facts["code"], "retryAfterS" in facts) == ("circuit_open", False)
        assert "switched off by an operator" in facts["text"]
        assert "(agenthub gate reset demo)" in facts["text"]
        assert "try later" not in facts["text"]
        await hub.http.post(f"{GATES}/demo/reset")
        assert text_of(await agent.call(TOOL, {})) == "ok"


async def test_an_open_breaker_says_when_to_come_back_and_lets_in_who_waited(hub: Served) -> None:
    await hub.register()
    patch = {"breaker": {"consecutive_failures": 2, "open_s": 1}}
    changed = await hub.http.patch(f"{GATES}/demo/policy", json=patch)
    assert changed.status_code == 200, changed.text
    failure = UpstreamError("The server broke.", code="upstream_broken")
    hub.world.client.results["tools/call"] = failure
    assert [(await call(hub)).status_code for _ in range(2)] == [502, 502]
    refused = await call(hub)
    assert (refused.status_code, body_of(refused)["code"]) == (503, "circuit_open")
    assert int(refused.headers["retry-after"]) >= 1
    shown = (await gate_of(hub))["instances"][0]["breaker"]
    assert (shown["state"], 0 < shown["retry_after_s"] < 5) == ("open", True)
    hub.world.client.results["tools/call"] = ECHO

    async def is_in() -> bool:
        return (await call(hub)).status_code == 200

    await eventually(is_in, what="the server is tried again")
    assert (await gate_of(hub))["instances"][0]["breaker"]["state"] == "closed"


async def test_a_breaker_that_moves_is_told_in_the_feed(hub: Served) -> None:
    await hub.register()
    await hub.http.post(f"{GATES}/demo/force-open")
    async with hub.http.stream("GET", "/api/events", headers={"last-event-id": "0"}) as feed:
        async with asyncio.timeout(5):
            async for line in feed.aiter_lines():
                if line.startswith("data:") and "breaker.changed" in line:
                    break
    assert '"state":"forced_open"' in line
    assert '"server":"demo"' in line


async def test_calls_over_the_limit_are_told_when_to_come_back(hub: Served) -> None:
    await hub.register()
    await limit_to_one(hub)
    assert (await call(hub)).status_code == 200
    refused = await call(hub)
    assert (refused.status_code, body_of(refused)["code"]) == (429, "rate_limited")
    assert 90 <= int(refused.headers["retry-after"]) <= 100
    assert len(hub.world.client.requests) == 1


@pytest.mark.parametrize("era", AgentEra)
async def test_an_agent_over_the_limit_reads_when_to_come_back(hub: Served, era: AgentEra) -> None:
    await hub.register()
    await limit_to_one(hub)
    async with Agent(f"{hub.url}/mcp", TOKEN, era) as agent:
        assert text_of(await agent.call(TOOL, {})) == "ok"
        message = await agent.call(TOOL, {})
    assert message["result"]["isError"] is True
    facts = error_facts(message)
    assert facts is not None
    assert facts["code"] == "rate_limited"
    assert 90 <= facts["retryAfterS"] <= 100
    assert "Try again in" in facts["text"]


@pytest.mark.parametrize("lever", [lever for lever, _ in LEVERS])
async def test_what_is_not_there_is_a_404(hub: Served, lever: str) -> None:
    await hub.register()
    nobody = await hub.http.post(f"{GATES}/nobody/{lever}")
    assert (nobody.status_code, body_of(nobody)["code"]) == (404, "server_not_found")
    other = await hub.http.post(f"{GATES}/demo/{lever}", json={"instance": "nobody"})
    assert (other.status_code, body_of(other)["code"]) == (404, "instance_not_found")
    shown = await hub.http.get(f"{GATES}/nobody")
    assert (shown.status_code, body_of(shown)["code"]) == (404, "server_not_found")


async def test_a_body_that_is_wrong_moves_nothing(hub: Served) -> None:
    await hub.register()
    for body in ({"instances": "x"}, {"instance": 5}, {"instance": "x" * 129}, [], "demo"):
        answer = await hub.http.post(f"{GATES}/demo/force-open", json=body)
        assert answer.status_code == 422, (body, answer.text)
    assert (await gate_of(hub))["instances"][0]["breaker"]["state"] == "closed"


async def test_who_may_look_may_not_move(hub: Served) -> None:
    await hub.register()
    reader = bearer((await hub.key("hub:read"))["secret"])
    assert (await hub.http.get(GATES, headers=reader)).status_code == 200
    assert (await hub.http.get(f"{GATES}/demo", headers=reader)).status_code == 200
    for lever, _ in LEVERS:
        answer = await hub.http.post(f"{GATES}/demo/{lever}", headers=reader)
        assert (answer.status_code, body_of(answer)["code"]) == (403, "insufficient_scope")


async def test_a_key_of_a_group_sees_its_servers_and_moves_none(hub: Served) -> None:
    await hub.register()
    await hub.register("other")
    headers = await member_of_team(hub, "hub:read", "hub:write")
    listed = (await hub.http.get(GATES, headers=headers)).json()["items"]
    assert [one["name"] for one in listed] == ["demo"]
    assert (await hub.http.get(f"{GATES}/other", headers=headers)).status_code == 404
    for lever, _ in LEVERS:
        answer = await hub.http.post(f"{GATES}/demo/{lever}", headers=headers)
        assert (answer.status_code, body_of(answer)["code"]) == (403, "group_bound")
        hidden = await hub.http.post(f"{GATES}/other/{lever}", headers=headers)
        assert (hidden.status_code, body_of(hidden)["code"]) == (404, "server_not_found")


async def test_a_key_of_a_group_sees_no_tool_that_its_group_leaves_out(hub: Served) -> None:
    await hub.register()
    await call(hub)
    assert [one["tool"] for one in (await gate_of(hub))["tools"]] == ["add_numbers"]
    headers = await member_of_team(hub, "hub:read", tools=["something_else"])
    one = (await hub.http.get(f"{GATES}/demo", headers=headers)).json()
    listed = (await hub.http.get(GATES, headers=headers)).json()["items"]
    assert [gate["tools"] for gate in (one, *listed)] == [[], []]


async def member_of_team(
    hub: Served, *scopes: str, tools: list[str] | None = None
) -> dict[str, str]:
    members = [{"server": "demo", "tools": tools}]
    made = await hub.http.post("/api/groups", json={"slug": "team", "members": members})
    assert made.status_code == 201, made.text
    return bearer((await hub.key(*scopes, group="team"))["secret"])


Sample = tuple[dict[str, str], float]


async def metrics(hub: Served, headers: dict[str, str] | None = None) -> dict[str, list[Sample]]:
    """Read /metrics as Prometheus does: samples by name."""
    text = (await hub.http.get("/metrics", headers=headers)).text
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


DURATION = "mcp_client_operation_duration_seconds"


async def test_calls_are_in_the_histogram_by_server_method_and_error(hub: Served) -> None:
    await hub.register()
    await call(hub)
    await call(hub)
    hub.world.client.results["tools/call"] = UpstreamError("It broke.", code="upstream_broken")
    await call(hub)
    found = await metrics(hub)
    counts = {
        (labels["server"], labels["mcp_method_name"], labels["error_type"]): value
        for labels, value in found[f"{DURATION}_count"]
    }
    assert counts == {
        ("demo", "tools/call", ""): 2,
        ("demo", "tools/call", "upstream_broken"): 1,
    }
    good = [(s, v) for s, v in found[f"{DURATION}_bucket"] if not s["error_type"]]
    values = [value for _, value in good]
    assert values == sorted(values)
    assert (good[-1][0]["le"], good[-1][1]) == ("+Inf", 2)


async def test_breakers_places_and_tasks_are_gauges(hub: Served) -> None:
    server = await hub.register()
    await hub.http.post(f"{GATES}/demo/force-open")
    found = await metrics(hub)
    states = {
        labels["state"]: value
        for labels, value in found["agenthub_circuit_breaker_state"]
        if (labels["server"], labels["instance"]) == ("demo", server["id"])
    }
    assert states == {state.value: float(state is State.FORCED_OPEN) for state in State}
    where = {"server": "demo", "instance": server["id"]}
    assert found["agenthub_bulkhead_in_flight"] == [(where, 0)]
    assert found["agenthub_bulkhead_queued"] == [(where, 0)]
    [(labels, tasks)] = found["agenthub_tasks"]
    assert (labels, tasks > 1) == ({}, True)


async def test_labels_do_not_grow_with_what_callers_send(hub: Served) -> None:
    await hub.register()
    for n in range(20):
        await hub.http.post(f"/api/mcp/servers/demo/tools/made-up-{n}", json={})
        await hub.http.post(f"/api/mcp/servers/made-up-{n}/tools/add_numbers", json={})
        await hub.http.get(f"/made-up-{n}")
        await hub.http.post(f"{GATES}/made-up-{n}/reset")
    await call(hub)
    text = (await hub.http.get("/metrics")).text
    assert "made-up" not in text
    assert "add_numbers" not in text


async def test_a_removed_server_leaves_the_metrics(hub: Served) -> None:
    await hub.register()
    await call(hub)
    assert (await hub.http.delete("/api/mcp/servers/demo")).status_code == 204
    assert 'server="demo"' not in (await hub.http.get("/metrics")).text


async def test_a_key_of_a_group_sees_the_numbers_of_its_servers(hub: Served) -> None:
    await hub.register()
    await hub.register("other")
    await call(hub)
    await hub.http.post("/api/mcp/servers/other/tools/add_numbers", json={})
    headers = await member_of_team(hub, "hub:read")
    servers = {
        labels["server"]
        for samples in (await metrics(hub, headers)).values()
        for labels, _ in samples
        if "server" in labels
    }
    assert servers == {"demo"}


async def test_who_moves_a_breaker_is_logged(hub: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agenthub.domain.services.resilience")
    await hub.register()
    await hub.http.post(f"{GATES}/demo/force-open")
    (line,) = [r for r in caplog.records if r.name.startswith("agenthub.domain.services.resil")]
    facts = vars(line)
    assert (line.levelno, line.getMessage()) == (logging.INFO, "an operator moved breakers")
    assert (facts["server"], facts["lever"], facts["instance"]) == ("demo", "force-open", "all")
    assert facts["subject"]
