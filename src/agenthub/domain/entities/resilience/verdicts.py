"""What the end of a call says of the server it went to."""

from enum import StrEnum

from agenthub.domain.exceptions import ErrorKind, HubError, RpcError

MAX_PAUSE_S = 300.0
"""The longest that a server's own Retry-After is obeyed."""

DEFAULT_PAUSE_S = 1.0
"""The pause after a 429 that names none."""

INTERNAL_ERROR = -32603
"""Source: JSON-RPC 2.0, section 5.1."""

_RATE_LIMITED = "server_rate_limited"
_UNAVAILABLE = "server_unavailable"

_DOWN = frozenset(
    {
        _UNAVAILABLE,
        "connect_failed",
        "server_ended",
        "server_lost",
        "server_not_started",
        "server_starting",
    }
)
"""Codes of UnavailableError that are the server's doing; all others are refusals of the hub's own,
its shutdown, or a credential or session that is to be renewed."""


class Verdict(StrEnum):
    """What a breaker counts. An ignored call says nothing about its server."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"


def verdict_of(error: BaseException | None, *, internal_is_failure: bool = False) -> Verdict:
    """Judge by the error a call ended with; None: a result came, `isError` or not.

    Any well-formed answer is a success, unless HTTP calls it a failure of the server (5xx).
    `internal_is_failure`: nor is a JSON-RPC -32603.
    """
    if error is None:
        return Verdict.SUCCESS
    if isinstance(error, HubError):
        return _of_hub_error(error)
    if isinstance(error, RpcError):
        is_failure = (internal_is_failure and error.code == INTERNAL_ERROR) or (
            error.http_status is not None and error.http_status >= 500
        )
        return Verdict.FAILURE if is_failure else Verdict.SUCCESS
    return Verdict.IGNORED


def pause_of(error: BaseException | None) -> float | None:
    """Seconds for which the server asks to be left alone: a 429, or a 503 with Retry-After."""
    if not isinstance(error, HubError):
        return None
    if error.code == _RATE_LIMITED:
        wait_s = DEFAULT_PAUSE_S if error.retry_after_s is None else error.retry_after_s
    elif error.code == _UNAVAILABLE and error.reached_server and error.retry_after_s is not None:
        wait_s = error.retry_after_s
    else:
        return None
    return min(max(wait_s, 0.0), MAX_PAUSE_S)


def _of_hub_error(error: HubError) -> Verdict:
    match error.kind:
        case ErrorKind.TIMEOUT:
            return Verdict.FAILURE
        case ErrorKind.UPSTREAM:
            is_answer = error.http_status is not None and 400 <= error.http_status < 500
            return Verdict.SUCCESS if is_answer else Verdict.FAILURE
        case ErrorKind.UNAVAILABLE:
            return Verdict.FAILURE if error.code in _DOWN else Verdict.IGNORED
        case ErrorKind.DECLINED:
            return Verdict.SUCCESS
        case _:
            return Verdict.IGNORED
