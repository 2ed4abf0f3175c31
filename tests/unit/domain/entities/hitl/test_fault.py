"""Faults that are written down and come back as they were."""

import pytest

from agenthub.domain.entities.hitl.fault import fault_from, kept_fault
from agenthub.domain.exceptions import (
    CancelledByCallerError,
    ErrorKind,
    HubError,
    InvalidError,
    QuotaError,
    RpcError,
    TimedOutError,
    UnanswerableError,
    UpstreamError,
)


@pytest.mark.parametrize(
    "error",
    [
        QuotaError("slow down", code="rate_limited", retry_after_s=1.5),
        TimedOutError("late"),
        UpstreamError("odd \x00\ud800"),
        UnanswerableError("nobody"),
        CancelledByCallerError("gone"),
        HubError("broken"),
    ],
)
def test_a_fault_comes_back_with_its_kind_code_and_words(error: HubError) -> None:
    back = fault_from(kept_fault(error))
    assert isinstance(back, HubError)
    assert (back.kind, back.code, back.message) == (error.kind, error.code, error.message)
    assert back.retry_after_s == error.retry_after_s


def test_the_fields_at_fault_come_back() -> None:
    error = InvalidError.at("arguments", 2, message="is odd", code="odd")
    back = fault_from(kept_fault(error))
    assert isinstance(back, InvalidError)
    assert (back.faults, back.code) == (error.faults, "odd")


def test_an_error_of_a_server_comes_back_with_its_data() -> None:
    back = fault_from(kept_fault(RpcError(-32042, "open", {"elicitations": []})))
    assert isinstance(back, RpcError)
    assert (back.code, back.message, back.data) == (-32042, "open", {"elicitations": []})


def test_what_is_no_fault_is_internal_and_tells_nothing() -> None:
    text = kept_fault(ValueError("secret"))
    back = fault_from(text)
    assert isinstance(back, HubError)
    assert back.kind is ErrorKind.INTERNAL
    assert "secret" not in text


def test_every_database_can_keep_the_text() -> None:
    text = kept_fault(RpcError(1, "\x00\ud800", "\x00"))
    assert text.isascii()
    assert "\x00" not in text
