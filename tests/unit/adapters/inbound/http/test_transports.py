"""Changes of a transport: what stays, what goes, what is refused."""

from typing import Any

import pytest

from agenthub.adapters.inbound.http.transports import (
    TransportPatch,
    change_transport,
    show_transport,
)
from agenthub.domain.entities.endpoints import HttpKind, HttpTransport, StdioTransport
from agenthub.domain.exceptions import InvalidError

STDIO = StdioTransport(command="run", args=("a",), env={"TOKEN": "1"}, cwd="/srv")
HTTP = HttpTransport(url="http://a/", headers={"X-Key": "1"})


def patch(**changes: Any) -> TransportPatch:
    return TransportPatch(**changes)


def test_an_empty_change_changes_nothing() -> None:
    assert change_transport(STDIO, patch()) == STDIO
    assert change_transport(HTTP, patch()) == HTTP


def test_secrets_stay_change_and_go() -> None:
    changed = change_transport(HTTP, patch(headers={"X-Key": "***", "Y": "2"}))
    assert changed == HttpTransport(url="http://a/", headers={"X-Key": "1", "Y": "2"})
    gone = change_transport(HTTP, patch(headers={"X-Key": None, "Z": None}))
    assert gone == HttpTransport(url="http://a/")


def test_a_null_working_folder_is_taken_back() -> None:
    changed = change_transport(STDIO, patch(cwd=None))
    assert isinstance(changed, StdioTransport)
    assert changed.cwd is None


def test_a_program_that_becomes_an_address_takes_no_secret_along() -> None:
    changed = change_transport(STDIO, patch(type="sse", url="http://b/"))
    assert changed == HttpTransport(url="http://b/", kind=HttpKind.SSE)
    assert change_transport(HTTP, patch(type="stdio", command="x")) == StdioTransport(command="x")


def test_another_kind_of_address_keeps_its_headers() -> None:
    changed = change_transport(HTTP, patch(type="sse"))
    assert changed == HttpTransport(url="http://a/", kind=HttpKind.SSE, headers={"X-Key": "1"})


@pytest.mark.parametrize(
    ("stored", "changes", "field"),
    [
        (STDIO, {"url": "http://b/"}, "url"),
        (HTTP, {"command": "x"}, "command"),
        (HTTP, {"type": "sse", "cwd": None}, "cwd"),
        (STDIO, {"type": "stdio", "headers": {}}, "headers"),
    ],
)
def test_fields_of_another_kind_are_refused(
    stored: StdioTransport | HttpTransport, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        change_transport(stored, patch(**changes))
    assert caught.value.faults[0].loc == ("transport", field)


def test_a_mask_for_an_unknown_secret_is_refused() -> None:
    with pytest.raises(InvalidError) as caught:
        change_transport(HTTP, patch(headers={"New": "***"}))
    assert caught.value.faults[0].loc == ("transport", "headers", "New")


def test_no_secret_is_shown() -> None:
    for transport in (STDIO, HTTP):
        assert '"1"' not in show_transport(transport).model_dump_json()
