"""The gate before every face: what is asked of each request before anybody reads it."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Generator, Iterable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import ErrorKind, HubError, UnauthenticatedError

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

PRINCIPAL = "agenthub.principal"
MAX_HEADER_BYTES = 32 * 1024
MAX_BODY_BYTES = 1024 * 1024
BODY_TIMEOUT_S = 30.0
HEALTH_PATHS = frozenset({"/livez", "/readyz"})
SOCKET_PATHS = frozenset({"/api/events/ws"})
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
CHALLENGE = (b"www-authenticate", b'Bearer realm="agenthub"')
CLOSE = (b"connection", b"close")

_HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::([0-9]{1,5}))?")
_HEADER_NAME = re.compile(rb"[a-z0-9-]+")
_REQUEST_HEADERS = frozenset({b"authorization", b"content-type", b"last-event-id", b"accept"})
_MAX_REMEMBERED = 64


class RefusedRequestError(HubError):
    """A request that is refused for its form. `status` is HTTP's."""

    kind = ErrorKind.INVALID

    def __init__(self, status: int, message: str, *headers: Header, code: str) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.headers = headers


class Authenticator(Protocol):
    """Whoever knows the tokens."""

    def cached(self, token: str) -> Principal | None: ...

    async def authenticate(self, token: str) -> Principal: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of the gate itself."""

    status: int
    code: str
    detail: str
    headers: tuple[Header, ...] = ()


def problem_body(status: int, code: str, detail: str, **more: Any) -> bytes:
    """Make an RFC 9457 body; members of `more` that are None are left out."""
    body: dict[str, Any] = {
        "type": f"urn:agenthub:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    body |= {name: value for name, value in more.items() if value is not None}
    return json.dumps(body).encode()


async def read_body(
    receive: Receive,
    scope: Scope,
    limit_bytes: int = MAX_BODY_BYTES,
    timeout_s: float = BODY_TIMEOUT_S,
) -> bytes:
    """Read a whole request body, whether it comes with a length or in chunks.

    Raises RefusedRequestError: 413 beyond `limit_bytes`, 408 when it is not there after
    `timeout_s`, 400 when it breaks off. The connection is closed after the first two.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and len(value) <= 20 and value.isdigit():
            _require_size(int(value), limit_bytes)
    first = _Begun(receive())
    if first.message is not None and not first.message.get("more_body", False):
        return _part(first.message, 0, limit_bytes)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            message = await first
            while True:
                parts.append(_part(message, size, limit_bytes))
                size += len(parts[-1])
                if not message.get("more_body", False):
                    return b"".join(parts)
                message = await receive()
    except TimeoutError as error:
        text = f"The body did not arrive within {timeout_s:g} s."
        raise RefusedRequestError(408, text, CLOSE, code="body_timeout") from error


class _Begun:
    """A wait for a message whose first step is taken at once; await it for the rest.

    Most bodies are there together with their headers, and a timer that is never needed would
    cost more than all else in `read_body`.
    """

    __slots__ = ("_pending", "_steps", "message")

    def __init__(self, waiting: Awaitable[Message]) -> None:
        self._steps = waiting.__await__()
        self._pending: Any = None
        self.message: Message | None = None
        try:
            self._pending = next(self._steps)
        except StopIteration as done:
            self.message = done.value

    def __await__(self) -> Generator[Any, Any, Message]:
        if self.message is not None:
            return self.message
        try:
            yield self._pending
        except BaseException:
            self._steps.close()
            raise
        return (yield from self._steps)


def _part(message: Message, read_bytes: int, limit_bytes: int) -> bytes:
    if message["type"] != "http.request":
        raise RefusedRequestError(400, "The body broke off.", code="body_broke_off")
    part: bytes = message.get("body", b"")
    _require_size(read_bytes + len(part), limit_bytes)
    return part


def _require_size(size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        text = f"A body may have {limit_bytes} bytes at most."
        raise RefusedRequestError(413, text, CLOSE, code="request_too_large")


@dataclass(slots=True)
class _Letterhead:
    """The headers that the gate looks at; None for one that is missing or stands twice."""

    size_bytes: int = 0
    host: bytes | None = None
    origin: bytes | None = None
    authorization: bytes | None = None
    is_ambiguous: bool = False


def _letterhead(headers: Iterable[Header]) -> _Letterhead:
    found = _Letterhead()
    for name, value in headers:
        found.size_bytes += len(name) + len(value) + 4
        if name == b"host":
            found.is_ambiguous |= found.host is not None
            found.host = value
        elif name == b"origin":
            found.is_ambiguous |= found.origin is not None
            found.origin = value
        elif name == b"authorization":
            found.is_ambiguous |= found.authorization is not None
            found.authorization = value
    return found


class Gate:
    """Checks size, Host, Origin and token, in this order; lets nothing else through.

    `hosts` and `origins` come beside the hub's own. `open_paths` need no token. Identity comes
    from the token alone: no forwarded header, no query parameter and no URL is believed.
    """

    def __init__(
        self,
        app: App,
        *,
        authenticator: Authenticator,
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        open_paths: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._hosts = frozenset(h.lower().encode() for h in (*LOCAL_HOSTS, *hosts))
        self._origins = frozenset(o.lower().rstrip("/").encode() for o in origins)
        self._open_paths = open_paths | HEALTH_PATHS
        self._good_hosts: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket":
                await self._websocket(scope, receive, send)
            case _:
                await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = _letterhead(scope["headers"])
        refusal = self._examine(scope, head)
        if refusal is not None:
            await _refuse(send, refusal)
            return
        if head.origin is not None:
            send = _sharing(send, head.origin)
            if scope["method"] == "OPTIONS" and _is_preflight(scope):
                await _preflight(scope, send)
                return
        if scope["path"] not in self._open_paths:
            principal = self._known(head.authorization)
            if principal is None:
                try:
                    principal = await self._unknown(head.authorization)
                except HubError as error:
                    await _refuse(send, _turned_away(error))
                    return
            scope[PRINCIPAL] = principal
        await self._app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check where a socket comes from; its token comes with its first message."""
        refusal = self._examine(scope, _letterhead(scope["headers"]))
        if refusal is None and scope["path"] not in SOCKET_PATHS:
            refusal = Refusal(404, code="not_found", detail="There is no such socket.")
        if refusal is None:
            await self._app(scope, receive, send)
        elif "websocket.http.response" in scope.get("extensions", {}):
            await _refuse(send, refusal, "websocket.http.response")
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _examine(self, scope: Scope, head: _Letterhead) -> Refusal | None:
        if head.size_bytes > MAX_HEADER_BYTES:
            text = f"Headers may have {MAX_HEADER_BYTES} bytes together."
            return Refusal(431, code="headers_too_large", detail=text, headers=(CLOSE,))
        if head.is_ambiguous:
            text = "Host, Origin and Authorization may stand once."
            return Refusal(400, code="ambiguous_headers", detail=text)
        host = head.host
        if host is None or (host not in self._good_hosts and not self._admits(host)):
            text = "The hub does not answer to this Host; see AGENTHUB_ALLOWED_HOSTS."
            return Refusal(421, code="host_not_allowed", detail=text)
        if head.origin is not None and not self._is_friend(head.origin, host, scope["scheme"]):
            text = "Pages of this origin may not speak to the hub; see AGENTHUB_ALLOWED_ORIGINS."
            return Refusal(403, code="origin_not_allowed", detail=text)
        return None

    def _admits(self, host: bytes) -> bool:
        parts = _HOST.fullmatch(host.lower())
        if parts is None or int(parts[2] or 0) > 65_535:
            return False
        if parts[1] not in self._hosts and parts[0] not in self._hosts:
            return False
        if len(self._good_hosts) < _MAX_REMEMBERED:
            self._good_hosts.add(host)
        return True

    def _is_friend(self, origin: bytes, host: bytes, scheme: str) -> bool:
        web_scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
        given = origin.lower()
        return given == f"{web_scheme}://".encode() + host.lower() or given in self._origins

    def _known(self, authorization: bytes | None) -> Principal | None:
        token = _bearer(authorization)
        return None if token is None else self._authenticator.cached(token)

    async def _unknown(self, authorization: bytes | None) -> Principal:
        token = _bearer(authorization)
        if token is None:
            raise UnauthenticatedError("Send a token: Authorization: Bearer ...")
        return await self._authenticator.authenticate(token)


def _bearer(authorization: bytes | None) -> str | None:
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(b" ")
    token = token.strip()
    return token.decode("latin-1") if token and scheme.lower() == b"bearer" else None


def _turned_away(error: HubError) -> Refusal:
    if error.kind is ErrorKind.UNAUTHENTICATED:
        return Refusal(401, error.code, error.message, (CHALLENGE,))
    return Refusal(503, error.code, error.message, ((b"retry-after", b"1"),))


def _is_preflight(scope: Scope) -> bool:
    return any(name == b"access-control-request-method" for name, _ in scope["headers"])


async def _preflight(scope: Scope, send: Send) -> None:
    """Answer the browser's question for an origin that has been found to be a friend."""
    wanted = b",".join(v for n, v in scope["headers"] if n == b"access-control-request-headers")
    names = (name.strip().lower() for name in wanted.split(b","))
    granted = sorted(name for name in names if _may_be_sent(name))
    headers = [
        (b"access-control-allow-methods", b"GET, POST, PATCH, DELETE"),
        (b"access-control-allow-headers", b", ".join(granted)),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _may_be_sent(name: bytes) -> bool:
    if name in _REQUEST_HEADERS:
        return True
    return name.startswith(b"mcp-") and _HEADER_NAME.fullmatch(name) is not None


def _sharing(send: Send, origin: bytes) -> Send:
    """Let a page of `origin` read the answer: an exact echo, never `*`."""
    extra = [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", b"mcp-session-id, retry-after, www-authenticate"),
        (b"vary", b"Origin"),
    ]

    async def sharing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        await send(message)

    return sharing


async def _refuse(send: Send, refusal: Refusal, channel: str = "http.response") -> None:
    body = problem_body(refusal.status, refusal.code, refusal.detail)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"vary", b"Origin"),
        *refusal.headers,
    ]
    await send({"type": f"{channel}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{channel}.body", "body": body})
