"""A server over streamable HTTP in the modern era: one POST per request, and no session."""

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import lru_cache

import msgspec

from agenthub.adapters.outbound.mcp_client.channel import Channel, Hello, Inbox
from agenthub.adapters.outbound.mcp_client.dispatcher import hand_on, timed_out
from agenthub.adapters.outbound.mcp_client.handshakes import (
    MODERN_ERRORS,
    MODERN_VERSIONS,
    UNSUPPORTED_VERSION,
    NotModernError,
    common_version,
    listen_filter,
    modern_hello,
    modern_meta,
    supported_versions,
)
from agenthub.adapters.outbound.mcp_client.header_params import header_value
from agenthub.adapters.outbound.mcp_client.http_answers import (
    ACCEPT,
    JSON,
    HttpStatusError,
    MessageReader,
    is_reply,
    no_reply,
)
from agenthub.adapters.outbound.mcp_client.messages import (
    MAX_KNOWN_LENGTH,
    Failure,
    Notification,
    Result,
    request_bytes,
    text_bytes,
)
from agenthub.domain.entities.endpoints import Endpoint, Era, HttpTransport
from agenthub.domain.exceptions import HubError, RpcError, TimedOutError, UpstreamError
from agenthub.domain.ports.outbound.http import HttpClient, HttpResponse, TransportError
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject

_log = logging.getLogger(__name__)

NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Which member of the params a method repeats in the header Mcp-Name."""

LISTEN_HEAD_TIMEOUT_S = 30.0


@asynccontextmanager
async def open_modern_http(
    http: HttpClient, endpoint: Endpoint, inbox: Inbox, *, timeout_s: float = 10.0
) -> AsyncGenerator["ModernHttpChannel"]:
    """Discover the server. Raises NotModernError when the legacy era is worth a try.

    Nothing is kept open between requests, so nothing is closed afterwards.
    """
    channel = ModernHttpChannel(http, endpoint, inbox)
    await channel.discover(timeout_s=timeout_s)
    yield channel


class ModernHttpChannel(Channel):
    era = Era.MODERN

    def __init__(self, http: HttpClient, endpoint: Endpoint, inbox: Inbox) -> None:
        if not isinstance(endpoint.transport, HttpTransport):
            raise TypeError("A modern HTTP channel needs an endpoint over HTTP.")
        self._http = http
        self._inbox = inbox
        self._server = endpoint.name
        self._url = endpoint.transport.url
        self._own_headers = endpoint.transport.headers
        self._ids = itertools.count(1)
        self._speak(MODERN_VERSIONS[0])

    async def discover(self, *, timeout_s: float) -> Hello:
        """Ask for the server's versions and capabilities, in the newest version both speak.

        Raises NotModernError for whatever a server of the modern era would not do.
        Source: MCP 2026-07-28, basic/lifecycle: only an answer of that era proves that era.
        """
        try:
            self.hello = await self._introduced(timeout_s)
        except RpcError as error:
            if error.code in MODERN_ERRORS:
                raise
            raise NotModernError(
                f"The server {self._server!r} does not know server/discover: {error.message}"
            ) from error
        except (UpstreamError, TimedOutError) as error:
            if _proves_nothing(error):
                raise
            raise NotModernError(error.message) from error
        self._speak(self.hello.protocol_version)
        return self.hello

    async def probe(self, *, timeout_s: float) -> None:
        """Discover the server anew. Silence and failures do not mean another era here."""
        try:
            await self.discover(timeout_s=timeout_s)
        except NotModernError as error:
            cause = error.__cause__
            if isinstance(cause, TimedOutError) or (
                isinstance(cause, HttpStatusError) and cause.status >= 500
            ):
                raise cause from error
            raise

    async def request(
        self,
        method: str,
        params: RawObject,
        *,
        meta: RawObject,
        caller: Caller | None,
        timeout_s: float,
        header_params: dict[str, str] | None = None,
    ) -> bytes:
        """Post the request; the deadline is absolute, however slowly the answer drips.

        Cancelling closes the answer's connection, which is how this era cancels.
        """
        number = next(self._ids)
        key = b"%d" % number
        full_meta = modern_meta(self._version, caller, meta)
        if caller is not None and caller.wants_progress:
            full_meta["progressToken"] = key
        headers = self._headers(method, params)
        if header_params:
            headers |= header_params
        body = request_bytes(number, method, params, full_meta)
        try:
            async with asyncio.timeout(timeout_s):
                async with self._http.request(
                    "POST", self._url, headers=headers, body=body, timeout_s=None
                ) as response:
                    reply = await self._reply(response, method, key, caller)
        except TimeoutError as error:
            raise timed_out(self._server, method, timeout_s) from error
        if isinstance(reply, Failure):
            raise reply.error
        return reply.result

    async def notify(self, method: str, params: RawObject) -> None:
        """Do nothing: over HTTP this era has no notifications from client to server."""

    async def wait_closed(self) -> None:
        """Never return: there is no connection to lose."""
        await asyncio.Event().wait()

    async def listen(self, *, resources: frozenset[str]) -> None:
        """Hear of changed lists and of these resources, until the server ends the stream.

        What arrives goes to the inbox, the acknowledgement first. Waits for ever when there is
        nothing to listen to. Raises RpcError when the server does not offer it, and the faults of
        a request.
        """
        wanted = listen_filter(self.hello.capabilities, resources)
        if not wanted:
            await asyncio.Event().wait()
        number = next(self._ids)
        method = "subscriptions/listen"
        params = {"notifications": msgspec.json.encode(wanted)}
        body = request_bytes(number, method, params, modern_meta(self._version, None, {}))
        async with self._http.request(
            "POST",
            self._url,
            headers=self._headers(method, params),
            body=body,
            timeout_s=LISTEN_HEAD_TIMEOUT_S,
        ) as response:
            key = b"%d" % number
            reader = MessageReader(response, self._server, key)
            while (message := await reader.next()) is not None:
                if is_reply(message, key):
                    if isinstance(message, Failure):
                        raise message.error
                    return
                if isinstance(message, Notification):
                    self._hear(message)

    def _speak(self, version: str) -> None:
        self._version = version
        self._base_headers = {
            **self._own_headers,
            "Accept": ACCEPT,
            "Content-Type": JSON,
            "MCP-Protocol-Version": version,
        }

    async def _introduced(self, timeout_s: float) -> Hello:
        try:
            return modern_hello(await self._discover(timeout_s))
        except RpcError as error:
            if error.code != UNSUPPORTED_VERSION:
                raise
            self._speak(common_version(supported_versions(error)))
            return modern_hello(await self._discover(timeout_s))

    async def _discover(self, timeout_s: float) -> bytes:
        return await self.request("server/discover", {}, meta={}, caller=None, timeout_s=timeout_s)

    def _headers(self, method: str, params: RawObject) -> dict[str, str]:
        headers = {**self._base_headers, "Mcp-Method": method}
        member = NAMED_BY.get(method)
        if member is not None and member in params:
            headers["Mcp-Name"] = _name_value(params[member])
        return headers

    async def _reply(
        self, response: HttpResponse, method: str, key: bytes, caller: Caller | None
    ) -> Result | Failure:
        reader = MessageReader(response, self._server, key)
        while (message := await reader.next()) is not None:
            if is_reply(message, key):
                return message
            if isinstance(message, Notification) and caller is not None and _is_of(message, key):
                await hand_on(message, caller)
        raise no_reply(self._server, method)

    def _hear(self, message: Notification) -> None:
        params = {k: v for k, v in message.params.items() if k != "_meta"}
        self._inbox.notification(message.method, params)


def _proves_nothing(error: HubError) -> bool:
    """Say whether a failed discovery tells nothing of the era: a broken way to the server, or a
    server of versions that the hub does not know.
    """
    if isinstance(error, HttpStatusError):
        return error.status in (502, 504)
    return isinstance(error, TransportError) or error.code == "server_version"


def _is_of(message: Notification, key: bytes) -> bool:
    """A progress message belongs to the request whose token it bears; others to the stream's."""
    return message.method != "notifications/progress" or message.params.get("progressToken") == key


def _name_value(raw: bytes) -> str:
    return _known_name(raw) if len(raw) <= MAX_KNOWN_LENGTH else _spelt_name(raw)


@lru_cache(maxsize=1024)
def _known_name(raw: bytes) -> str:
    return _spelt_name(raw)


def _spelt_name(raw: bytes) -> str:
    try:
        return header_value(msgspec.json.decode(raw, type=str))
    except (msgspec.DecodeError, msgspec.ValidationError):
        return header_value(text_bytes(raw.decode(errors="replace")).decode())
