"""What a failed connection means: in words for a person, and for what the hub does next."""

from agenthub.adapters.outbound.mcp_client.handshakes import MODERN_ERRORS, NotModernError
from agenthub.adapters.outbound.mcp_client.http_answers import HttpStatusError
from agenthub.domain.entities.endpoints import Endpoint, HttpKind, HttpTransport
from agenthub.domain.exceptions import (
    HubError,
    QuotaError,
    RpcError,
    TimedOutError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ports.outbound.http import (
    BodyTooLargeError,
    ConnectFailedError,
    TransportError,
)

_LEGACY_REFUSALS = (-32000, -32001, -32600, -32601)
"""What legacy servers say to a request without session, or before `initialize`."""

_POST_UNKNOWN = (404, 405)


def reason(error: Exception, endpoint: Endpoint) -> str:
    """Say what is wrong and what may help."""
    if isinstance(error, RpcError):
        return f"It answered with an error: {error.message[:300]} ({error.code})."
    if not isinstance(error, HubError):
        return "The hub failed to connect it; its log says more."
    if is_unauthorized(error):
        if isinstance(endpoint.transport, HttpTransport) and not _has_credential(endpoint):
            return f"{error.message} Add an Authorization header."
        return error.message
    if error.code in ("server_no_mcp", "server_bad_message"):
        return f"{error.message} What is there speaks no MCP."
    if _is_at_wrong_door(error, endpoint):
        return (
            f"{error.message} It may be a server of the older HTTP+SSE transport (register it"
            ' with the type "sse"), or the path is wrong.'
        )
    return error.message


def is_unauthorized(error: Exception | None) -> bool:
    return isinstance(error, HubError) and error.code == "server_unauthorized"


def speaks_otherwise(error: Exception) -> bool:
    """Say whether a server is there and answered, but not in the era it was addressed in."""
    if isinstance(error, HttpStatusError):
        return error.status < 500
    if isinstance(error, UpstreamError):
        return not isinstance(error, TransportError | BodyTooLargeError)
    return isinstance(error, RpcError | NotModernError)


def more_telling(refusal: NotModernError, legacy: HubError | RpcError) -> Exception:
    """Of the failures in both eras, choose the one to report.

    A server that refuses the legacy era as a modern one does, or is silent in it, was nearer to
    an answer before.
    """
    before = refusal.__cause__ if isinstance(refusal.__cause__, HubError) else refusal
    if isinstance(legacy, RpcError):
        return before if legacy.code in MODERN_ERRORS else legacy
    return before if isinstance(legacy, TimedOutError) else legacy


def casts_doubt(error: HubError) -> bool:
    """Say whether a failed request may mean that the server is not well."""
    if isinstance(error, HttpStatusError):
        return error.status >= 500
    if isinstance(error, QuotaError):
        return False
    return isinstance(error, UnavailableError | TimedOutError | TransportError)


def denies_era(error: RpcError) -> bool:
    """Say whether a modern request may have failed because the server is modern no more."""
    return error.code in _LEGACY_REFUSALS


def is_certain(error: HubError) -> bool:
    """Say whether a failed request proves that the server cannot be reached."""
    return isinstance(error, ConnectFailedError)


def _is_at_wrong_door(error: HubError, endpoint: Endpoint) -> bool:
    cause: BaseException | None = error if isinstance(error, HttpStatusError) else error.__cause__
    return (
        isinstance(cause, HttpStatusError)
        and cause.status in _POST_UNKNOWN
        and isinstance(endpoint.transport, HttpTransport)
        and endpoint.transport.kind is HttpKind.STREAMABLE
    )


def _has_credential(endpoint: Endpoint) -> bool:
    transport = endpoint.transport
    return isinstance(transport, HttpTransport) and any(
        name.lower() == "authorization" for name in transport.headers
    )
