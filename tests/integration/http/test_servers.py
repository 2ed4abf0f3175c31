"""Registering servers and using them over REST."""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from agenthub.domain.entities.endpoints import ConnectionStatus, EndpointState, Era
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.entities.monitoring import Health, HealthState
from agenthub.domain.exceptions import RpcError, TimedOutError
from agenthub.domain.ports.outbound.mcp_client import Answer, InputRequired, Question
from tests.integration.http.world import SERVERS, Served, bearer, body_of
from tests.support.waiting import eventually, soon

HTTP = {"type": "streamable-http", "url": "http://127.0.0.1:9/mcp"}
STDIO = {"type": "stdio", "command": "some-server", "args": ["-x"], "env": {"TOKEN": "s3cr3t"}}
UNREACHABLE = EndpointState(status=ConnectionStatus.UNREACHABLE, last_error="refused")


async def stored_secret(hub: Served, name: str) -> Any:
    async with hub.world.uow.read(OWNER) as stored:
        endpoint = await stored.endpoints.find(name)
    assert endpoint is not None
    return endpoint.transport


async def test_a_registered_server_answers_with_what_the_contract_names(hub: Served) -> None:
    answer = await hub.http.post(SERVERS, json={"name": "time", "transport": HTTP})
    server = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{SERVERS}/{server['id']}"
    assert {"protocol_version", "server_info", "capabilities", "last_error"} <= server.keys()
    assert (server["name"], server["status"]) == ("time", "ready")
    assert server["counts"] == {"tools": 0, "resources": 0, "resource_templates": 0, "prompts": 0}


async def test_a_server_is_found_by_id_and_by_name(hub: Served) -> None:
    server = await hub.register("time")
    by_name = await hub.http.get(f"{SERVERS}/time")
    by_id = await hub.http.get(f"{SERVERS}/{server['id']}")
    assert by_name.json() == by_id.json()
    assert body_of(await hub.http.get(f"{SERVERS}/nobody"))["code"] == "server_not_found"


async def test_a_server_that_cannot_be_reached_is_kept_and_says_why(hub: Served) -> None:
    hub.world.client.fates_by_name["dead"] = UNREACHABLE
    answer = await hub.http.post(SERVERS, json={"name": "dead", "transport": HTTP})
    assert answer.status_code == 201
    assert answer.json()["status"] == "unreachable"
    assert answer.json()["last_error"] == "refused"


async def test_with_verify_a_server_that_cannot_be_reached_is_not_kept(hub: Served) -> None:
    hub.world.client.fates_by_name["dead"] = UNREACHABLE
    answer = await hub.http.post(f"{SERVERS}?verify=true", json={"name": "dead", "transport": HTTP})
    assert answer.status_code == 502
    assert body_of(answer)["code"] == "server_unreachable"
    assert (await hub.http.get(SERVERS)).json()["items"] == []


async def test_a_name_that_is_taken_is_a_conflict(hub: Served) -> None:
    await hub.register("time")
    answer = await hub.http.post(SERVERS, json={"name": "time", "transport": HTTP})
    assert (answer.status_code, body_of(answer)["code"]) == (409, "name_taken")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"name": "Bad Name", "transport": HTTP}, ["name"]),
        ({"name": "x", "transport": {"type": "stdio"}}, ["transport", "stdio", "command"]),
        ({"name": "x", "transport": {**HTTP, "url": "ftp://x"}}, ["transport", "url"]),
        ({"name": "x", "transport": {"type": "carrier-pigeon"}}, ["transport"]),
        ({"name": "x", "transport": HTTP, "workspace": "other"}, ["workspace"]),
        (
            {"name": "x", "transport": {**HTTP, "headers": {"A": "***"}}},
            ["transport", "headers", "A"],
        ),
        (
            {"name": "x", "transport": {**HTTP, "headers": {"Host": "a"}}},
            ["transport", "headers", "Host"],
        ),
        (
            {"name": "x", "transport": {**STDIO, "env": {"LD_PRELOAD": "a"}}},
            ["transport", "env", "LD_PRELOAD"],
        ),
        ({}, ["name"]),
    ],
)
async def test_a_wrong_registration_names_the_field(
    hub: Served, body: dict[str, Any], where: list[str]
) -> None:
    answer = await hub.http.post(SERVERS, json=body)
    assert answer.status_code == 422
    errors = body_of(answer)["errors"]
    assert where in [error["loc"] for error in errors]
    assert all(error["message"] and error["code"] for error in errors)
    assert (await hub.http.get(SERVERS)).json()["items"] == []


async def test_secrets_never_come_back(hub: Served) -> None:
    await hub.register("tool", **STDIO)
    shown = await hub.http.get(f"{SERVERS}/tool")
    assert "s3cr3t" not in shown.text
    assert shown.json()["transport"]["env"] == {"TOKEN": "***"}
    assert (await stored_secret(hub, "tool")).env == {"TOKEN": "s3cr3t"}


async def test_a_change_keeps_secrets_that_it_does_not_name_and_removes_nulls(hub: Served) -> None:
    await hub.register("tool", **{**STDIO, "env": {"A": "1", "B": "2", "C": "3"}})
    changes = {"args": ["-y"], "env": {"A": "***", "B": None, "D": "4"}}
    answer = await hub.http.patch(f"{SERVERS}/tool", json={"transport": changes})
    assert answer.status_code == 200, answer.text
    kept = await stored_secret(hub, "tool")
    assert kept.env == {"A": "1", "C": "3", "D": "4"}
    assert (kept.command, kept.args) == ("some-server", ("-y",))


async def test_what_was_read_can_be_written_back(hub: Served) -> None:
    await hub.register("tool", **STDIO)
    shown = (await hub.http.get(f"{SERVERS}/tool")).json()
    answer = await hub.http.patch(
        f"{SERVERS}/tool", json={k: shown[k] for k in ("name", "transport", "era", "tags")}
    )
    assert answer.status_code == 200, answer.text
    assert (await stored_secret(hub, "tool")).env == {"TOKEN": "s3cr3t"}


async def test_fields_of_another_transport_are_refused(hub: Served) -> None:
    await hub.register("tool", **STDIO)
    answer = await hub.http.patch(f"{SERVERS}/tool", json={"transport": {"url": "http://x/"}})
    assert answer.status_code == 422
    assert body_of(answer)["errors"][0]["loc"] == ["transport", "url"]


async def test_a_program_needs_an_admin_on_every_path(hub: Served) -> None:
    key = await hub.key("hub:read", "hub:write")
    head = bearer(key["secret"])
    made = await hub.http.post(SERVERS, json={"name": "a", "transport": STDIO}, headers=head)
    assert (made.status_code, body_of(made)["code"]) == (403, "stdio_needs_admin")
    await hub.http.post(SERVERS, json={"name": "b", "transport": HTTP}, headers=head)
    change = {"transport": {"type": "stdio", "command": "sh"}}
    changed = await hub.http.patch(f"{SERVERS}/b", json=change, headers=head)
    assert (changed.status_code, body_of(changed)["code"]) == (403, "stdio_needs_admin")


async def test_disabling_and_removing_a_server(hub: Served) -> None:
    await hub.register("time")
    off = await hub.http.patch(f"{SERVERS}/time", json={"enabled": False})
    assert off.json()["status"] == "disabled"
    assert (await hub.http.post(f"{SERVERS}/time/refresh")).json()["status"] == "disabled"
    gone = await hub.http.delete(f"{SERVERS}/time")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await hub.http.delete(f"{SERVERS}/time")).status_code == 404


async def test_lists_come_in_pages(hub: Served) -> None:
    names = [f"s{number}" for number in range(5)]
    for name in names:
        await hub.register(name)
    found: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await hub.http.get(SERVERS, params=params)).json()
        assert len(page["items"]) <= 2
        found += [server["name"] for server in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == names


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=%00", "cursor=!!"])
async def test_a_wrong_page_is_refused(hub: Served, query: str) -> None:
    answer = await hub.http.get(f"{SERVERS}?{query}")
    assert answer.status_code == 422
    assert body_of(answer)["errors"]


async def test_a_diagnosis_says_what_to_do(hub: Served) -> None:
    hub.world.client.fates_by_name["dead"] = UNREACHABLE
    await hub.http.post(SERVERS, json={"name": "dead", "transport": HTTP})
    found = (await hub.http.get(f"{SERVERS}/dead/diagnosis")).json()
    assert found["status"] == "unreachable"
    assert "refused" in found["findings"][0]["problem"]
    assert found["output"] == []


async def test_a_server_that_fails_its_probes_says_so(hub: Served) -> None:
    server = await hub.register("demo")
    assert server["health"] == "unknown"
    hub.world.health[server["id"]] = Health(HealthState.UNHEALTHY, "silence for 5 s")
    assert (await hub.http.get(f"{SERVERS}/demo")).json()["health"] == "unhealthy"
    found = (await hub.http.get(f"{SERVERS}/demo/diagnosis")).json()
    assert found["status"] == "ready"
    assert "silence for 5 s" in found["findings"][0]["problem"]


async def test_items_are_listed_untouched_and_used(hub: Served) -> None:
    await hub.register("demo")
    tools = (await hub.http.get(f"{SERVERS}/demo/tools")).json()["items"]
    assert tools[0]["name"] == "add_numbers"
    for kind in ("resources", "resource-templates", "prompts"):
        assert len((await hub.http.get(f"{SERVERS}/demo/{kind}")).json()["items"]) == 1
    called = await hub.http.post(f"{SERVERS}/demo/tools/add_numbers", json={"arguments": {}})
    assert called.json() == {"content": [{"type": "text", "text": "ok"}], "isError": False}
    prompt = await hub.http.post(f"{SERVERS}/demo/prompts/greet", json={"arguments": {"a": "b"}})
    assert prompt.json() == {"messages": []}


async def test_arguments_reach_the_server_as_they_were_written(hub: Served) -> None:
    await hub.register("demo")
    written = b'{"arguments": {"big": 12345678901234567890123, "tiny": 1.0e-7, "text": "\xc3\xa9"}}'
    await hub.http.post(
        f"{SERVERS}/demo/tools/add_numbers",
        content=written,
        headers={"content-type": "application/json"},
    )
    _, request, caller = hub.world.client.requests[-1]
    assert request.params["arguments"] == written[14:-1]
    assert request.params["name"] == b'"add_numbers"'
    assert set(caller.capabilities) == {"elicitation", "sampling"}  # what people can answer


@pytest.mark.parametrize("uri", ["demo://notes/a b", "file:///a/b%20c?x=1#y", "x:y/../z"])
async def test_a_resource_uri_survives_the_path(hub: Served, uri: str) -> None:
    await hub.register("demo")
    answer = await hub.http.get(f"{SERVERS}/demo/resources/{quote(uri, safe='')}")
    assert answer.json() == {"contents": []}
    _, request, _ = hub.world.client.requests[-1]
    assert request.params["uri"].decode() == f'"{uri}"'


async def test_completion_names_a_prompt_or_a_template(hub: Served) -> None:
    await hub.register("demo")
    for ref in (
        {"type": "ref/prompt", "name": "greet"},
        {"type": "ref/resource", "uri": "demo://notes/{id}"},
    ):
        body = {"ref": ref, "argument": {"name": "id", "value": "a"}}
        answer = await hub.http.post(f"{SERVERS}/demo/complete", json=body)
        assert answer.json() == {"completion": {"values": []}}, answer.text


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RpcError(-32602, "wrong"), 422, "invalid_arguments"),
        (RpcError(-32601, "no such method"), 404, "not_supported"),
        (RpcError(-32002, "no such resource"), 404, "resource_not_found"),
        (RpcError(-32021, "needs sampling"), 409, "question_unanswerable"),
        (RpcError(-32603, "broke"), 502, "server_error"),
        (RpcError(7, "own"), 502, "server_error"),
        (TimedOutError("slow"), 504, "server_timeout"),
    ],
)
async def test_errors_of_a_server_are_told_apart(
    hub: Served, error: Exception, status: int, code: str
) -> None:
    await hub.register("demo")
    hub.world.client.results["tools/call"] = error
    answer = await hub.http.post(f"{SERVERS}/demo/tools/add_numbers", json={})
    problem = body_of(answer)
    assert (answer.status_code, problem["code"]) == (status, code)
    assert problem.get("rpc_code") == getattr(error, "code", None) or status == 504


async def test_a_server_that_asks_what_no_person_is_asked_is_at_fault(hub: Served) -> None:
    await hub.register("demo")

    async def ask(request: Any, caller: Any) -> Answer:
        question = Question("demo", "elicitation/create", b"{}")
        return Answer(b"{}", Era.MODERN, InputRequired({"a": question}, None))

    hub.world.client.handle = ask
    answer = await hub.http.post(f"{SERVERS}/demo/tools/add_numbers", json={})
    assert (answer.status_code, body_of(answer)["code"]) == (502, "question_refused")


async def test_who_hangs_up_cancels_the_call(hub: Served) -> None:
    await hub.register("demo")
    cancelled = asyncio.Event()

    async def hang(request: Any, caller: Any) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    hub.world.client.handle = hang
    async with asyncio.TaskGroup() as group:
        call = group.create_task(
            hub.http.post(f"{SERVERS}/demo/tools/add_numbers", json={}, timeout=30)
        )
        await soon(hub.world.client.asked.wait())
        call.cancel()
        await soon(cancelled.wait())


async def test_unknown_tools_and_disabled_servers_are_not_called(hub: Served) -> None:
    await hub.register("demo")
    answer = await hub.http.post(f"{SERVERS}/demo/tools/nothing", json={})
    assert (answer.status_code, body_of(answer)["code"]) == (404, "tool_not_found")
    await hub.http.patch(f"{SERVERS}/demo", json={"enabled": False})
    answer = await hub.http.post(f"{SERVERS}/demo/tools/add_numbers", json={})
    assert answer.status_code == 404
    assert hub.world.client.requests == []


async def test_all_tools_are_listed_under_their_name_at_the_hub(hub: Served) -> None:
    await hub.register("one")
    await hub.register("two")
    tools = (await hub.http.get("/api/tools")).json()["items"]
    assert [(t["name"], t["server"], t["tool"], t["score"]) for t in tools] == [
        ("one__add_numbers", "one", "add_numbers", None),
        ("two__add_numbers", "two", "add_numbers", None),
    ]
    ranked = (await hub.http.get("/api/tools?query=add two&limit=1")).json()["items"]
    assert [(tool["name"], tool["score"]) for tool in ranked] == [("two__add_numbers", 1.0)]
    assert (await hub.http.get("/api/tools?query=weather")).json()["items"] == []


async def test_a_removed_server_leaves_the_feed_a_trace(hub: Served) -> None:
    await hub.register("demo")
    await hub.http.delete(f"{SERVERS}/demo")

    async def told() -> bool:
        async with hub.world.uow.read(OWNER) as stored:
            events = await stored.events.after(0, limit=100)
        return [e.facts["status"] for e in events if e.name == "server.status"][-1] == "removed"

    await eventually(told)
