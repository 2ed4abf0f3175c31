"""Errors as REST clients get them: RFC 9457 problems, one table, four handlers."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException  # noqa: TID251  handled here, raised nowhere
from starlette.routing import Match

from agenthub.adapters.inbound.gate import (
    CHALLENGE,
    App,
    Receive,
    RefusedRequestError,
    Scope,
    Send,
    problem_body,
)
from agenthub.domain.exceptions import ErrorKind, HeldBackError, HubError, InvalidError, RpcError
from agenthub.domain.ports.outbound.clock import IdFactory

PROBLEM = "application/problem+json"
DEFAULT_RETRY_AFTER_S = 5
METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")

STATUS_OF = {
    ErrorKind.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorKind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorKind.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    ErrorKind.DENIED: HTTPStatus.FORBIDDEN,
    ErrorKind.CONFLICT: HTTPStatus.CONFLICT,
    ErrorKind.GONE: HTTPStatus.GONE,
    ErrorKind.QUOTA: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorKind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorKind.TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    ErrorKind.UPSTREAM: HTTPStatus.BAD_GATEWAY,
    ErrorKind.DECLINED: HTTPStatus.CONFLICT,
    ErrorKind.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}


@dataclass(frozen=True, slots=True)
class Told:
    """How an error of others is told: status and code."""

    status: int
    code: str


TOLD_OF_RPC = {
    -32602: Told(422, code="invalid_arguments"),
    -32002: Told(404, code="resource_not_found"),
    -32601: Told(404, code="not_supported"),
    -32021: Told(409, code="question_unanswerable"),
}
"""JSON-RPC errors of a server that are the caller's to mend; all others are a 502."""
SERVER_ERROR = Told(502, code="server_error")

_TOLD_OF_STATUS = {
    404: Told(404, code="not_found"),
    405: Told(405, code="method_not_allowed"),
}

_logger = logging.getLogger(__name__)


def problem(
    status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any
) -> Response:
    """Make an answer of a problem."""
    body = problem_body(status, code, detail, **more)
    return Response(body, status, headers, media_type=PROBLEM)


def install(app: FastAPI) -> None:
    """Teach an application to answer every error with a problem."""
    app.add_exception_handler(HubError, _on_hub_error)
    app.add_exception_handler(RpcError, _on_rpc_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)


def of_hub_error(error: HubError) -> Response:
    """Make the answer of an error of the house."""
    if isinstance(error, RefusedRequestError):
        given = {name.decode(): value.decode() for name, value in error.headers}
        return problem(error.status, error.code, error.message, given)
    status = STATUS_OF[error.kind]
    headers: dict[str, str] = {}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers |= _retry_after(error)
    if error.kind is ErrorKind.UNAUTHENTICATED:
        headers[CHALLENGE[0].decode()] = CHALLENGE[1].decode()
    faults = error.faults if isinstance(error, InvalidError) else ()
    listed = [{"loc": list(f.loc), "message": f.message, "code": error.code} for f in faults]
    errors = listed if error.kind is ErrorKind.INVALID else None
    return problem(status, error.code, error.message, headers, errors=errors)


def _retry_after(error: HubError) -> dict[str, str]:
    """Tell when to come back; nobody knows where an operator has to act first."""
    wait_s = error.retry_after_s
    if wait_s is None:
        if isinstance(error, HeldBackError):
            return {}
        wait_s = DEFAULT_RETRY_AFTER_S
    return {"retry-after": str(ceil(wait_s))}


async def _on_hub_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HubError)
    return of_hub_error(error)


async def _on_rpc_error(request: Request, error: Exception) -> Response:
    """Hand on what a server answered; the words are its own."""
    assert isinstance(error, RpcError)
    told = TOLD_OF_RPC.get(error.code, SERVER_ERROR)
    detail = f"The server answered: {error.message}"
    errors: list[Any] | None = [] if told.status == HTTPStatus.UNPROCESSABLE_ENTITY else None
    return problem(told.status, told.code, detail, errors=errors, rpc_code=error.code)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    """Name the faulty fields; what was sent is never echoed: it may be a secret, or no JSON."""
    assert isinstance(error, RequestValidationError)
    found: Sequence[Any] = error.errors()
    faults = [
        {"loc": _loc(one["loc"]), "message": str(one["msg"]), "code": str(one["type"])}
        for one in found
    ]
    words = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['message']}" for f in faults[:10])
    return problem(422, "invalid", words, errors=faults)


def _loc(loc: Sequence[int | str]) -> list[int | str]:
    """Name a field of the body by its path in the body, others with where they stand."""
    return list(loc[1:] if len(loc) > 1 and loc[0] == "body" else loc)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: unknown paths and methods, bodies it cannot read."""
    assert isinstance(error, HTTPException)
    told = _TOLD_OF_STATUS.get(error.status_code, Told(error.status_code, code="refused_request"))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"allow": ", ".join(_methods_at(request))}
    return problem(told.status, told.code, str(error.detail), headers)


def _methods_at(request: Request) -> list[str]:
    """List every method of a path; Starlette names those of the first matching route only."""
    routes = request.app.routes
    return [
        method
        for method in METHODS
        if any(r.matches({**request.scope, "method": method})[0] is Match.FULL for r in routes)
    ]


class SafetyNet:
    """The outermost edge of the routes: a fault becomes a 500 with nothing but its log id."""

    def __init__(self, app: App, ids: IdFactory) -> None:
        self._app = app
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sending(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            log_id = self._ids.new()
            _logger.exception("a request failed", extra={"log_id": log_id})
            if begun or scope["type"] != "http":
                raise
            answer = problem(500, "internal", f"A fault of the hub; its log has id {log_id}.")
            await answer(scope, receive, send)
