"""The outbound HTTP client against real sockets that misbehave."""

import asyncio
import gzip
import socket
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psutil
import pytest

from agenthub.adapters.outbound.http.aiohttp import AiohttpClient
from agenthub.domain.exceptions import HubError, TimedOutError, UnavailableError
from agenthub.domain.ports.outbound.http import (
    BodyTooLargeError,
    ConnectFailedError,
    EgressDeniedError,
    TransportError,
)
from tests.unit.adapters.outbound.http.kit import WAIT_S, Got, Peer, each, serving

MIB = 1024 * 1024


@asynccontextmanager
async def client(
    *, allow_private: bool = True, max_body_bytes: int = MIB
) -> AsyncIterator[AiohttpClient]:
    async with (
        asyncio.timeout(4 * WAIT_S),
        AiohttpClient(allow_private=allow_private, max_body_bytes=max_body_bytes) as it,
    ):
        yield it


async def post(http: AiohttpClient, url: str, timeout_s: float | None = WAIT_S) -> bytes:
    async with http.request("POST", url, headers={}, body=b"{}", timeout_s=timeout_s) as response:
        return await response.read()


async def ok(peer: Peer, got: Got) -> None:
    await peer.respond(got.body)


async def test_a_round_trip_keeps_status_headers_and_body() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        seen.append(got)
        await peer.respond(b"[1]", status="429 Too Many Requests", Retry_After="7")

    seen: list[Got] = []
    async with (
        serving(each(answer)) as server,
        client() as http,
        http.request(
            "POST", server.url, headers={"X-Key": "v"}, body=b"abc", timeout_s=WAIT_S
        ) as response,
    ):
        assert (response.status, response.headers["retry-after"]) == (429, "7")
        assert await response.read() == b"[1]"
    assert (seen[0].method, seen[0].path, seen[0].body) == ("POST", "/mcp", b"abc")
    assert seen[0].headers["x-key"] == "v"
    assert seen[0].headers["user-agent"].startswith("agenthub/")


async def test_connections_are_kept_for_the_next_request() -> None:
    async with serving(each(ok)) as server, client() as http:
        for _ in range(5):
            await post(http, server.url)
        assert server.connections == 1


async def test_cookies_are_neither_kept_nor_sent() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        assert "cookie" not in got.headers
        await peer.respond(b"{}", Set_Cookie="a=b; Path=/")

    async with serving(each(answer)) as server, client() as http:
        for _ in range(2):
            await post(http, server.url)
        assert server.connections == 1


async def test_redirects_are_not_followed() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        paths.append(got.path)
        await peer.respond(status="307 Temporary Redirect", Location="/internal")

    paths: list[str] = []
    async with (
        serving(each(answer)) as server,
        client() as http,
        http.request("GET", server.url, headers={}, timeout_s=WAIT_S) as response,
    ):
        assert response.status == 307
    assert paths == ["/mcp"]


async def refuse_to_speak_http(peer: Peer) -> None:
    await peer.next()
    await peer.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def hang_up(peer: Peer) -> None:
    await peer.next()


async def reset(peer: Peer) -> None:
    await peer.next()
    peer.reset()


async def cut_in_the_body(peer: Peer) -> None:
    await peer.next()
    await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")


async def reset_in_the_body(peer: Peer) -> None:
    await cut_in_the_body(peer)
    await asyncio.sleep(0.01)
    peer.reset()


async def cut_in_a_chunk(peer: Peer) -> None:
    await peer.next()
    await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nhalf")


async def break_the_gzip(peer: Peer) -> None:
    await peer.next()
    await peer.respond(b"this is no gzip", content_encoding="gzip")


async def send_a_huge_header(peer: Peer) -> None:
    await peer.next()
    await peer.send(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.parametrize(
    "talk",
    [
        refuse_to_speak_http,
        hang_up,
        reset,
        cut_in_the_body,
        reset_in_the_body,
        cut_in_a_chunk,
        break_the_gzip,
        send_a_huge_header,
    ],
)
async def test_a_broken_answer_is_a_transport_fault(talk: object) -> None:
    async with serving(talk) as server, client() as http:  # type: ignore[arg-type]
        with pytest.raises(TransportError):
            await post(http, server.url)


async def test_a_fault_is_that_requests_alone() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        if got.path == "/bad":
            peer.reset()
        else:
            waiting.set()
            await go.wait()
            await peer.respond(b"fine")

    waiting, go = asyncio.Event(), asyncio.Event()
    async with serving(each(answer)) as server, client() as http, asyncio.TaskGroup() as group:
        sibling = group.create_task(post(http, server.url))
        await waiting.wait()
        with pytest.raises(TransportError):
            await post(http, server.url.replace("/mcp", "/bad"))
        go.set()
        assert await sibling == b"fine"


async def test_a_post_is_never_sent_twice() -> None:
    """The server takes the second request on a kept connection and hangs up on it."""

    async def talk(peer: Peer) -> None:
        while await peer.next() is not None:
            taken.append(peer)
            if len(taken) == 2:
                return
            await peer.respond(b"{}")

    taken: list[Peer] = []
    async with serving(talk) as server, client() as http:
        await post(http, server.url)
        with pytest.raises(TransportError):
            await post(http, server.url)
        assert len(taken) == 2


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    async def talk(peer: Peer) -> None:
        await peer.next()
        await peer.respond(b"{}")
        peer.writer.close()
        await peer.writer.wait_closed()
        closed.set()

    closed = asyncio.Event()
    async with serving(talk) as server, client() as http:
        for _ in range(3):
            closed.clear()
            await post(http, server.url)
            await closed.wait()
            await asyncio.sleep(0)
        assert server.connections == 3


async def test_nobody_listening_means_nothing_was_sent() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with client() as http:
            with pytest.raises(ConnectFailedError):
                await post(http, f"http://127.0.0.1:{unused.getsockname()[1]}/")
            with pytest.raises(ConnectFailedError):
                await post(http, "http://no-such-host.invalid/")


async def test_a_silent_server_runs_into_the_limit() -> None:
    async def talk(peer: Peer) -> None:
        await peer.next()
        await peer.gone()
        left.set()

    left = asyncio.Event()
    async with serving(talk) as server, client() as http:
        with pytest.raises(TimedOutError):
            await post(http, server.url, timeout_s=0.02)
        await left.wait()


async def test_leaving_early_hangs_up() -> None:
    async def talk(peer: Peer) -> None:
        await peer.next()
        await peer.begin_stream()
        await peer.send(b"data: 1\n\n")
        await peer.gone()
        left.set()

    left = asyncio.Event()
    async with serving(talk) as server, client() as http:
        async with http.request("GET", server.url, headers={}, timeout_s=WAIT_S) as response:
            async for chunk in response.chunks():
                assert chunk == b"data: 1\n\n"
                break
        await left.wait()


async def test_bodies_are_decompressed() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        assert "gzip" in got.headers["accept-encoding"]
        await peer.respond(gzip.compress(b"hello"), content_encoding="gzip")

    async with serving(each(answer)) as server, client() as http:
        assert await post(http, server.url) == b"hello"


async def test_a_body_over_the_cap_is_refused() -> None:
    async def answer(peer: Peer, got: Got) -> None:
        await peer.respond(b"x" * int(got.headers["x-size"]))

    async with serving(each(answer)) as server, client(max_body_bytes=1000) as http:
        for size, fits in ((1000, True), (1001, False), (1000, True)):
            async with http.request(
                "GET", server.url, headers={"X-Size": str(size)}, timeout_s=WAIT_S
            ) as response:
                if fits:
                    assert len(await response.read()) == size
                else:
                    with pytest.raises(BodyTooLargeError):
                        await response.read()


def bomb(size_mib: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(MIB)
    return b"".join(packer.compress(zeros) for _ in range(size_mib)) + packer.flush()


@pytest.mark.chaos
async def test_a_gzip_bomb_costs_no_memory() -> None:
    """300 MB in 300 kB: `read` stops at the cap, `chunks` goes through it in small pieces."""

    async def answer(peer: Peer, got: Got) -> None:
        await peer.respond(packed, content_encoding="gzip")

    packed = bomb(300)
    process = psutil.Process()
    async with serving(each(answer)) as server, client(max_body_bytes=16 * MIB) as http:
        before = peak = process.memory_info().rss
        with pytest.raises(BodyTooLargeError):
            await post(http, server.url)
        peak = process.memory_info().rss
        size = largest = 0
        async with http.request("GET", server.url, headers={}, timeout_s=WAIT_S) as response:
            async for chunk in response.chunks():
                size += len(chunk)
                largest = max(largest, len(chunk))
                peak = max(peak, process.memory_info().rss) if size % (10 * MIB) == 0 else peak
    assert size == 300 * MIB
    assert largest <= 4 * MIB
    assert peak - before < 64 * MIB


REFUSED_LITERALS = [
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://2130706433:{port}/",
    "http://127.1:{port}/",
    "http://0.0.0.0:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://169.254.169.254/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://10.0.0.1/",
    "http://100.64.0.1/",
]


@pytest.mark.parametrize("literal", REFUSED_LITERALS)
async def test_private_addresses_are_refused_at_connect_in_every_spelling(literal: str) -> None:
    async with serving(each(ok)) as server, client(allow_private=False) as http:
        with pytest.raises(EgressDeniedError):
            await post(http, literal.format(port=server.port))
        assert server.connections == 0


async def test_metadata_services_are_refused_also_where_private_is_allowed() -> None:
    async with client() as http:
        for host in ("169.254.169.254", "[64:ff9b::a9fe:a9fe]", "[::ffff:169.254.169.254]"):
            with pytest.raises(EgressDeniedError):
                await post(http, f"http://{host}/latest/meta-data/")


async def test_open_and_closed_ports_of_a_refused_address_look_the_same() -> None:
    async def text(http: AiohttpClient, port: int) -> str:
        with pytest.raises(EgressDeniedError) as caught:
            await post(http, f"http://127.0.0.1:{port}/")
        return caught.value.message.replace(str(port), "PORT")

    async with serving(each(ok)) as server, client(allow_private=False) as http:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            closed = unused.getsockname()[1]
            assert await text(http, server.port) == await text(http, closed)


def resolving_to(*addresses: str) -> Callable[..., list[tuple[object, ...]]]:
    def answers(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 80)) for one in addresses]

    return answers


@pytest.mark.parametrize("name", ["rebinding.example", "localhost.", "0x7f.1", "0177.0.0.1"])
async def test_a_name_with_one_bad_address_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name service is the outside world here: getaddrinfo gives one good and one bad.

    libc takes `localhost.` and odd numbers for names of 127.0.0.1.
    """
    monkeypatch.setattr(socket, "getaddrinfo", resolving_to("1.1.1.1", "127.0.0.1"))
    async with client(allow_private=False) as http:
        with pytest.raises(EgressDeniedError):
            await post(http, f"http://{name}/")


@pytest.mark.parametrize("url", ["http://[", "ftp://127.0.0.1/", "file:///etc/passwd", "http://"])
async def test_what_is_no_web_address_is_refused(url: str) -> None:
    async with client() as http:
        with pytest.raises(EgressDeniedError):
            await post(http, url)


async def test_a_line_break_in_a_header_is_refused() -> None:
    async with serving(each(ok)) as server, client() as http:
        with pytest.raises(HubError):
            async with http.request(
                "GET", server.url, headers={"X": "a\r\nInjected: 1"}, timeout_s=WAIT_S
            ):
                pass
        assert await post(http, server.url) == b"{}"


async def test_before_the_start_and_after_the_stop_nothing_is_sent() -> None:
    http = AiohttpClient(allow_private=True)
    with pytest.raises(UnavailableError):
        await post(http, "http://127.0.0.1:1/")
    async with http:
        pass
    with pytest.raises(UnavailableError):
        await post(http, "http://127.0.0.1:1/")


async def test_an_answer_left_after_the_stop_is_hung_up_on() -> None:
    async def talk(peer: Peer) -> None:
        await peer.next()
        await peer.begin_stream()
        await peer.gone()
        left.set()

    left = asyncio.Event()
    async with asyncio.timeout(WAIT_S), serving(talk) as server:
        http = AiohttpClient(allow_private=True)
        await http.__aenter__()
        async with http.request("GET", server.url, headers={}, timeout_s=WAIT_S):
            await http.__aexit__(None, None, None)
        await left.wait()
