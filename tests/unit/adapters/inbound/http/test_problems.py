"""Every kind of error has its status, and none says more than it should."""

import json
from typing import Any

import pytest
from fastapi import FastAPI

from agenthub.adapters.inbound.gate import CLOSE, RefusedRequestError
from agenthub.adapters.inbound.http import problems
from agenthub.adapters.inbound.http.problems import STATUS_OF, of_hub_error
from agenthub.domain.exceptions import (
    ErrorKind,
    FieldFault,
    HeldBackError,
    HubError,
    InvalidError,
    NotFoundError,
    QuotaError,
    UnauthenticatedError,
    UnavailableError,
)
from tests.fakes.clock import FakeIdFactory
from tests.unit.adapters.inbound.mcp.asgi import http


def body_of(error: HubError) -> dict[str, Any]:
    answer = of_hub_error(error)
    assert answer.media_type == "application/problem+json"
    body: dict[str, Any] = json.loads(bytes(answer.body))
    assert body["status"] == answer.status_code
    return body


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_has_a_status_of_its_side(kind: ErrorKind) -> None:
    theirs = {ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT, ErrorKind.UPSTREAM, ErrorKind.INTERNAL}
    assert (STATUS_OF[kind] >= 500) == (kind in theirs)


def test_a_problem_names_code_title_and_detail() -> None:
    assert body_of(NotFoundError("There is no x.", code="server_not_found")) == {
        "type": "urn:agenthub:problem:server_not_found",
        "title": "Not Found",
        "status": 404,
        "detail": "There is no x.",
        "code": "server_not_found",
    }


def test_a_fault_of_fields_names_each() -> None:
    fault = FieldFault(("transport", "args", 0), "is bad")
    error = InvalidError("wrong", faults=(fault,), code="invalid_server")
    assert body_of(error)["errors"] == [
        {"loc": ["transport", "args", 0], "message": "is bad", "code": "invalid_server"}
    ]


def test_who_has_to_wait_is_told_how_long() -> None:
    assert of_hub_error(QuotaError("slow", retry_after_s=1.2)).headers["retry-after"] == "2"
    assert of_hub_error(UnavailableError("now", retry_after_s=0.0)).headers["retry-after"] == "0"
    assert of_hub_error(UnavailableError("later")).headers["retry-after"] == "5"


def test_who_waits_for_an_operator_is_told_no_time() -> None:
    assert "retry-after" not in of_hub_error(HeldBackError("shut", code="circuit_open")).headers


def test_who_is_unknown_is_challenged() -> None:
    headers = of_hub_error(UnauthenticatedError("who?")).headers
    assert headers["www-authenticate"] == 'Bearer realm="agenthub"'


def test_a_refused_form_has_its_own_status() -> None:
    answer = of_hub_error(RefusedRequestError(408, "slow", CLOSE, code="body_timeout"))
    assert (answer.status_code, answer.headers["connection"]) == (408, "close")


class Trap(Exception):
    """Carries what must not be seen."""


async def test_a_fault_before_the_first_byte_is_a_500_without_its_words() -> None:
    app = FastAPI()
    problems.install(app)

    @app.get("/boom")
    async def boom() -> None:
        raise Trap("s3cr3t")

    visit = http(problems.SafetyNet(app.router, FakeIdFactory()), "GET", "/boom")
    await visit._run()
    body = await visit.json()
    assert (visit.status, body["code"]) == (500, "internal")
    assert "ID000001" in body["detail"]
    assert "s3cr3t" not in json.dumps(body)


async def test_a_fault_behind_the_first_byte_cuts_the_answer() -> None:
    async def half(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise Trap

    visit = http(problems.SafetyNet(half, FakeIdFactory()), "GET", "/")
    with pytest.raises(Trap):
        await visit._run()
