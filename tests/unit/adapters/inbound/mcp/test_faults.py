"""Errors as agents of each era get them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from agenthub.adapters.inbound.mcp.asking import UndeclaredError
from agenthub.adapters.inbound.mcp.envelope import FaultyMessageError
from agenthub.adapters.inbound.mcp.faults import (
    CODE_OF,
    FOR_MODELS,
    error_body,
    http_status,
    to_rpc_error,
    to_tool_result,
)
from agenthub.domain.exceptions import (
    ConflictError,
    DeniedError,
    ErrorKind,
    GoneError,
    HeldBackError,
    HubError,
    InvalidError,
    NotFoundError,
    QuotaError,
    RpcError,
    TimedOutError,
    UnanswerableError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
)

NEW = "2025-11-25"
MODERN = "2026-07-28"
ERRORS: dict[ErrorKind, HubError] = {
    ErrorKind.INVALID: InvalidError("bad"),
    ErrorKind.NOT_FOUND: NotFoundError("gone"),
    ErrorKind.UNAUTHENTICATED: UnauthenticatedError("who"),
    ErrorKind.DENIED: DeniedError("no"),
    ErrorKind.CONFLICT: ConflictError("taken"),
    ErrorKind.GONE: GoneError("late"),
    ErrorKind.QUOTA: QuotaError("much", retry_after_s=7.2),
    ErrorKind.UNAVAILABLE: UnavailableError("away"),
    ErrorKind.TIMEOUT: TimedOutError("slow"),
    ErrorKind.UPSTREAM: UpstreamError("odd"),
    ErrorKind.DECLINED: UnanswerableError("nobody"),
    ErrorKind.INTERNAL: HubError("secret"),
}


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_has_a_code_outside_what_others_own(kind: ErrorKind) -> None:
    code, message, data = to_rpc_error(ERRORS[kind], NEW)
    assert code == CODE_OF[kind]
    assert code in (-32602, -32603) or not -32768 <= code <= -32000
    if kind is not ErrorKind.INTERNAL:
        assert message == ERRORS[kind].message
        assert data["code"] == ERRORS[kind].code


def test_every_kind_is_documented() -> None:
    page = (Path(__file__).parents[5] / "docs" / "reference" / "errors.md").read_text()
    rows = re.findall(r"^\| ([a-z ]+) \| \d+ \| (-?\d+) \| (error|result) \|", page, re.M)
    listed = {
        kind.replace(" ", "_"): (int(code), answer == "result") for kind, code, answer in rows
    }
    assert listed == {kind.value: (code, kind in FOR_MODELS) for kind, code in CODE_OF.items()}


@pytest.mark.parametrize("error", [HubError("secret"), ValueError("secret"), KeyError("secret")])
def test_a_bug_shows_nothing_of_itself(error: Exception) -> None:
    code, message, data = to_rpc_error(error, MODERN)
    assert (code, data) == (-32603, None)
    assert "secret" not in message
    assert to_tool_result(error, MODERN) is None


@pytest.mark.parametrize(("version", "code"), [(NEW, -32002), (MODERN, -32602)])
def test_an_unknown_resource_has_the_code_of_the_era(version: str, code: int) -> None:
    error = NotFoundError("gone", code="resource_not_found")
    assert to_rpc_error(error, version)[0] == code
    assert to_rpc_error(NotFoundError("gone", code="tool_not_found"), version)[0] == -32602


def test_fields_at_fault_are_named() -> None:
    data = to_rpc_error(InvalidError.at("a", 0, message="must be short"), NEW)[2]
    assert data["errors"] == [{"loc": ["a", 0], "message": "must be short"}]


@pytest.mark.parametrize("version", [NEW, MODERN])
@pytest.mark.parametrize("code", [-32602, -32601, -32603, -32000, -32021, 0, 7, -1])
def test_a_servers_error_passes_unchanged(version: str, code: int) -> None:
    data = {"big": 10**30}
    assert to_rpc_error(RpcError(code, "m", data), version) == (code, "m", data)


@pytest.mark.parametrize(
    ("code", "version", "expected"),
    [
        (-32002, NEW, -32002),
        (-32002, MODERN, -32602),
        (-32042, NEW, -32042),
        (-32042, MODERN, 1502),
        (-32020, NEW, -32020),
        (-32022, NEW, -32022),
        (-32077, NEW, -32077),
        (-32020, MODERN, 1502),
        (-32022, MODERN, 1502),
        (-32077, MODERN, 1502),
    ],
)
def test_a_code_that_would_mislead_the_agent_is_translated(
    code: int, version: str, expected: int
) -> None:
    read, message, data = to_rpc_error(RpcError(code, "why", {"x": 1}), version)
    assert read == expected
    assert "why" in message
    if expected == code:
        assert (message, data) == ("why", {"x": 1})
    if expected == 1502:
        assert data == {"code": "server_refused", "serverCode": code, "serverData": {"x": 1}}


def test_a_capability_that_was_not_declared_has_its_own_code_since_2026() -> None:
    error = UndeclaredError("Much is missing.", "elicitation.url", "sampling", "elicitation.form")

    assert to_rpc_error(error, MODERN) == (
        -32021,
        "Much is missing.",
        {
            "code": "question_unanswerable",
            "requiredCapabilities": {"elicitation": {"url": {}, "form": {}}, "sampling": {}},
        },
    )
    assert to_tool_result(error, MODERN) is None
    assert to_rpc_error(error, NEW)[0] == 1422
    assert to_tool_result(error, NEW) is not None


def test_the_faces_own_codes_pass() -> None:
    assert to_rpc_error(FaultyMessageError(-32022, "m", {"a": 1}), MODERN) == (
        -32022,
        "m",
        {"a": 1},
    )


@pytest.mark.parametrize("kind", ErrorKind)
@pytest.mark.parametrize("version", [NEW, MODERN])
def test_a_model_reads_what_it_can_act_on(kind: ErrorKind, version: str) -> None:
    result = to_tool_result(ERRORS[kind], version)
    if kind not in FOR_MODELS:
        assert result is None
        return
    assert result is not None
    read: dict[str, Any] = json.loads(result)
    assert read["isError"] is True
    words = read["content"][0]["text"]
    assert words.startswith(ERRORS[kind].message)
    assert len(words) > len(ERRORS[kind].message) + 10
    assert read["_meta"]["agenthub/error"]["code"] == ERRORS[kind].code
    assert (read.get("resultType") == "complete") is (version == MODERN)


def test_a_model_is_told_when_to_come_back() -> None:
    result = to_tool_result(QuotaError("Too much.", retry_after_s=7.2), NEW)
    assert result is not None
    assert json.loads(result)["content"][0]["text"] == "Too much. Try again in 8 s or later."


def test_a_servers_error_stays_an_error() -> None:
    assert to_tool_result(RpcError(-1, "no"), NEW) is None


def test_an_error_is_framed_under_the_id_it_answers_to() -> None:
    assert json.loads(error_body(b'"a"', (-1, "m", {"x": 1}), NEW)) == {
        "jsonrpc": "2.0",
        "id": "a",
        "error": {"code": -1, "message": "m", "data": {"x": 1}},
    }


def test_an_error_without_id_has_none_for_modern_agents() -> None:
    assert json.loads(error_body(b"null", (-1, "m", None), NEW))["id"] is None
    assert "id" not in json.loads(error_body(b"null", (-1, "m", None), MODERN))


@pytest.mark.parametrize(
    ("code", "status"),
    [
        *((code, 400) for code in (-32700, -32600, -32602, -32020, -32021, -32022)),
        (-32601, 404),
        (-32603, 200),
        (1503, 200),
    ],
)
def test_modern_agents_get_the_status_that_belongs_to_the_code(code: int, status: int) -> None:
    assert http_status(code) == status


@pytest.mark.parametrize(
    ("wait_s", "words"),
    [
        (7.2, "8 s"),
        (119, "119 s"),
        (121, "about 2 minutes"),
        (7_199, "about 120 minutes"),
        (7_200, "about 2 hours"),
        (172_800, "about 2 days"),
        (801_842, "about 9 days"),
    ],
)
def test_a_model_reads_a_long_wait_in_units_of_people(wait_s: float, words: str) -> None:
    result = to_tool_result(QuotaError("Spent.", retry_after_s=wait_s), MODERN)
    assert result is not None
    read = json.loads(result)
    assert read["content"][0]["text"] == f"Spent. Try again in {words} or later."
    assert read["_meta"]["agenthub/error"]["retryAfterS"] == wait_s


@pytest.mark.parametrize(
    ("code", "advice"),
    [("call_interrupted", "Check what was done before you call again."), ("question_lost", "")],
)
def test_a_model_is_not_told_of_the_server_what_is_the_hubs_own_trouble(
    code: str, advice: str
) -> None:
    result = to_tool_result(UnavailableError("It may have been done.", code=code), NEW)
    assert result is not None
    said = json.loads(result)["content"][0]["text"]
    assert said == f"It may have been done. {advice}".rstrip()


def test_a_model_is_not_told_to_wait_for_what_only_an_operator_ends() -> None:
    result = to_tool_result(HeldBackError("Shut.", code="circuit_open"), NEW)
    assert result is not None
    words = json.loads(result)["content"][0]["text"]
    assert "Waiting does not help until an operator resets it" in words
    assert "later" not in words
