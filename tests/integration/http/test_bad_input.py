"""Bodies, paths and methods that are wrong: each gets its precise refusal, never a 5xx."""

import asyncio
import json

import pytest

from agenthub.adapters.inbound import gate
from agenthub.adapters.inbound.http import protocol
from tests.integration.http.world import SERVERS, TOKEN, Served, body_of
from tests.support.waiting import soon

GOOD = {"name": "x", "transport": {"type": "sse", "url": "http://127.0.0.1:9/"}}
JSON = {"content-type": "application/json"}


def call_with(arguments: str) -> bytes:
    return b'{"arguments": {"x": ' + arguments.encode() + b"}}"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"name": "a", "name": "b"}',
        b"\xff\xfe",
        b'{"name": "\\ud800"}',
        b'{"name": "a\\u0000b"}',
        b'{"a\\u0000b": 1}',
        b'{"name": NaN}',
        b'{"name": Infinity}',
        b"[" * 100_000,
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b'{"name": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda body: repr(body[:24]),
)
async def test_what_is_no_strict_json_is_a_400(hub: Served, body: bytes) -> None:
    answer = await hub.http.post(SERVERS, content=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    assert body_of(answer)["code"] == "invalid_json"


@pytest.mark.parametrize("arguments", ["1e999", "123456789" * 40, '"\\\\u0000"', "[[[[[]]]]]"])
async def test_what_is_strict_json_reaches_the_server(hub: Served, arguments: str) -> None:
    await hub.register("demo")
    answer = await hub.http.post(
        f"{SERVERS}/demo/tools/add_numbers", content=call_with(arguments), headers=JSON
    )
    assert answer.status_code in (200, 400, 422), answer.text
    if answer.status_code == 200:
        _, request, _ = hub.world.client.requests[-1]
        assert request.params["arguments"] == b'{"x": ' + arguments.encode() + b"}"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_of_another_type_is_not_read(hub: Served, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = await hub.http.post(SERVERS, content=json.dumps(GOOD).encode(), headers=headers)
    assert (answer.status_code, body_of(answer)["code"]) == (415, "unsupported_media_type")
    assert (await hub.http.get(SERVERS)).json()["items"] == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused_in_one_shape(hub: Served, chunked: bool) -> None:
    big = b'{"name": "' + b"a" * (1024 * 1024) + b'"}'

    async def parts():
        for start in range(0, len(big), 65_536):
            yield big[start : start + 65_536]

    content = parts() if chunked else big
    answer = await hub.http.post(SERVERS, content=content, headers=JSON)
    assert (answer.status_code, body_of(answer)["code"]) == (413, "request_too_large")


async def test_a_wrong_method_is_told_the_right_ones(hub: Served) -> None:
    answer = await hub.http.put(SERVERS, json={})
    assert (answer.status_code, body_of(answer)["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("path", ["/nowhere", "/api/", f"{SERVERS}/", f"{SERVERS}/a%00b", "/docs/"])
async def test_an_unknown_path_is_a_problem(hub: Served, path: str) -> None:
    answer = await hub.http.get(path)
    assert answer.status_code == 404
    assert body_of(answer)["code"].endswith("not_found")


async def test_a_fault_of_the_hub_tells_nothing_but_a_log_id(
    hub: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # A fault cannot be asked for through a public door, so one is planted.
    monkeypatch.setattr(hub.world.hub.endpoints, "page", None)
    answer = await hub.http.get(SERVERS)
    assert answer.status_code == 500
    problem = body_of(answer)
    assert "NoneType" not in answer.text
    log_id = problem["detail"].rpartition(" ")[2].rstrip(".")
    assert any(getattr(record, "log_id", None) == log_id for record in caplog.records)


async def raw(hub: Served, *chunks: bytes) -> bytes:
    """Write bytes to the hub's socket and read until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    try:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        return await soon(reader.read())
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


HEAD = f"GET /livez HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n".encode()


@pytest.mark.parametrize(
    "chunks",
    [
        [HEAD, b"X: " + b"a" * 47_000, b"a" * 10_000],
        [HEAD, *[b"X-%d: %s\r\n" % (n, b"v" * 990) for n in range(60)]],
        [b"GET /" + b"a" * 60_000],
    ],
    ids=["one header", "many headers", "a long path"],
)
async def test_a_head_without_an_end_is_cut_off(hub: Served, chunks: list[bytes]) -> None:
    answer = await raw(hub, *chunks)
    assert answer.startswith(b"HTTP/1.1 431 ") or answer == b""
    assert (await hub.http.get("/livez")).status_code == 200


async def test_large_headers_are_refused_with_a_problem(hub: Served) -> None:
    answer = await hub.http.get("/livez", headers={"x-long": "a" * 33_000})
    assert (answer.status_code, body_of(answer)["code"]) == (431, "headers_too_large")


async def test_a_whole_request_in_one_large_chunk_is_no_large_head(hub: Served) -> None:
    body = b'{"name": "' + b"a" * 200_000 + b'"}'
    head = (
        f"POST {SERVERS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/json\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    answer = await raw(hub, head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 422 ")


async def test_many_requests_in_one_chunk_are_all_answered(hub: Served) -> None:
    one = HEAD + b"X-Fill: " + b"a" * 8_000 + b"\r\n"
    last = one + b"Connection: close\r\n\r\n"
    answer = await raw(hub, (one + b"\r\n") * 11 + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 12


async def test_a_head_that_does_not_end_is_given_up(
    hub: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.05)
    assert (await raw(hub)).startswith(b"HTTP/1.1 408 ")
    assert (await raw(hub, HEAD)).startswith(b"HTTP/1.1 408 ")
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(HEAD + b"\r\n")
    await soon(reader.readuntil(b"}"))
    writer.write(HEAD)
    assert (await soon(reader.read())).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_body_that_does_not_come_is_given_up(
    hub: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate.read_body, "__defaults__", (gate.MAX_BODY_BYTES, 0.05))
    head = (
        f"POST {SERVERS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{"
    )
    answer = await raw(hub, head.encode())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"body_timeout" in answer
