"""What counts against a server, what for it, and what not at all."""

import asyncio

import pytest

from agenthub.adapters.outbound.mcp_client.http_answers import HttpStatusError
from agenthub.domain.entities.resilience.verdicts import Verdict, pause_of, verdict_of
from agenthub.domain.exceptions import (
    CancelledByCallerError,
    ConflictError,
    DeniedError,
    GoneError,
    HubError,
    InvalidError,
    NotConnectedError,
    NotFoundError,
    QuotaError,
    RpcError,
    TimedOutError,
    UnanswerableError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ports.outbound.http import (
    BodyTooLargeError,
    ConnectFailedError,
    EgressDeniedError,
    TransportError,
)


def unavailable(code: str) -> UnavailableError:
    return UnavailableError("no", code=code)


@pytest.mark.parametrize(
    "error",
    [
        TimedOutError("late"),
        TransportError("reset"),
        ConnectFailedError("refused"),
        NotConnectedError("gone"),
        UnavailableError("HTTP 503"),
        BodyTooLargeError("a bomb"),
        UpstreamError("html", code="server_no_mcp"),
        *(HttpStatusError("down", status=status) for status in (500, 502, 504, 599)),
        HttpStatusError("moved", status=307, code="server_redirects"),
        *map(unavailable, ("server_ended", "server_lost", "server_not_started")),
    ],
)
def test_failures_of_the_server(error: HubError) -> None:
    assert verdict_of(error) is Verdict.FAILURE
    assert pause_of(error) is None


@pytest.mark.parametrize(
    "error",
    [
        None,
        UnanswerableError("nobody there"),
        *(RpcError(code, "no") for code in (-32603, -32602, -32601, -32020, -32022, 7)),
        *(HttpStatusError("no", status=status) for status in (400, 404, 499)),
    ],
)
def test_any_well_formed_answer_is_a_success(error: Exception | None) -> None:
    assert verdict_of(error) is Verdict.SUCCESS
    assert pause_of(error) is None


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        CancelledByCallerError("never mind"),
        QuotaError("HTTP 429", code="server_rate_limited"),
        QuotaError("the hub's own"),
        EgressDeniedError("not there"),
        *map(unavailable, ("server_unauthorized", "server_busy", "server_session_lost")),
        *map(unavailable, ("server_closed", "stopping", "storage_busy", "storage_unavailable")),
        InvalidError("no"),
        NotFoundError("no"),
        UnauthenticatedError("no"),
        DeniedError("no"),
        ConflictError("no"),
        GoneError("no"),
        HubError("no"),
        ZeroDivisionError("a bug of the hub"),
    ],
)
def test_what_says_nothing_about_the_server_is_ignored(error: BaseException) -> None:
    assert verdict_of(error) is Verdict.IGNORED


@pytest.mark.parametrize(
    ("code", "verdict"), [(-32603, Verdict.FAILURE), (-32602, Verdict.SUCCESS)]
)
def test_an_internal_error_counts_where_it_is_to(code: int, verdict: Verdict) -> None:
    assert verdict_of(RpcError(code, "no"), internal_is_failure=True) is verdict


@pytest.mark.parametrize(
    ("retry_after_s", "pause_s"), [(None, 1.0), (7.0, 7.0), (1e9, 300.0), (-1.0, 0.0)]
)
def test_too_many_requests_pause_the_server(retry_after_s: float | None, pause_s: float) -> None:
    error = QuotaError("HTTP 429", code="server_rate_limited", retry_after_s=retry_after_s)
    assert pause_of(error) == pause_s


def test_a_server_that_says_when_it_is_back_is_left_alone_until_then() -> None:
    assert pause_of(UnavailableError("HTTP 503", retry_after_s=7)) == 7


def test_only_the_server_asks_for_a_pause() -> None:
    assert pause_of(QuotaError("the hub's own", retry_after_s=7)) is None
    assert pause_of(NotConnectedError("the hub's own", retry_after_s=7)) is None
    assert pause_of(None) is None
    assert pause_of(ValueError("a bug")) is None


@pytest.mark.parametrize(
    ("status", "verdict"), [(None, Verdict.SUCCESS), (400, Verdict.SUCCESS), (503, Verdict.FAILURE)]
)
def test_a_servers_error_counts_by_the_http_status_it_came_with(
    status: int | None, verdict: Verdict
) -> None:
    error = RpcError(-32000, "no")
    error.http_status = status
    assert verdict_of(error) is verdict
