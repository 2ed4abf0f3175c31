from datetime import UTC, datetime
from typing import Any

import pytest

from agenthub.domain.entities.endpoints import (
    Endpoint,
    Era,
    EraChoice,
    HttpKind,
    HttpTransport,
    StdioTransport,
    Transport,
    url_faults,
)
from agenthub.domain.exceptions import InvalidError
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId

AT = datetime(2026, 11, 21, tzinfo=UTC)


def endpoint(**given: Any) -> Endpoint:
    values: dict[str, Any] = {"name": "time", "transport": StdioTransport(command="x"), **given}
    return Endpoint(
        id=EndpointId("e1"), workspace=DEFAULT_WORKSPACE, created_at=AT, updated_at=AT, **values
    )


def fields_refused(**given: Any) -> set[tuple[str | int, ...]]:
    with pytest.raises(InvalidError) as caught:
        endpoint(**given)
    return {fault.loc for fault in caught.value.faults}


@pytest.mark.parametrize("name", ["", "Time", "1time", "a_b", "a b", "a" * 33, "é", "a\n", "../x"])
def test_a_name_outside_the_pattern_is_refused(name: str) -> None:
    assert fields_refused(name=name) == {("name",)}


@pytest.mark.parametrize("name", ["a", "time-2", "a" * 32])
def test_a_name_within_the_pattern_is_taken(name: str) -> None:
    assert endpoint(name=name).name == name


@pytest.mark.parametrize(
    ("transport", "loc"),
    [
        (StdioTransport(command=" "), ("transport", "command")),
        (StdioTransport(command="a\nb"), ("transport", "command")),
        (StdioTransport(command="a", args=("ok", "b\x00")), ("transport", "args", 1)),
        (StdioTransport(command="a", env={"A B": "1"}), ("transport", "env", "A B")),
        (StdioTransport(command="a", env={"LD_PRELOAD": "1"}), ("transport", "env", "LD_PRELOAD")),
        (StdioTransport(command="a", env={"path": "1"}), ("transport", "env", "path")),
        (StdioTransport(command="a", env={"A": "\x00"}), ("transport", "env", "A")),
        (StdioTransport(command="a", cwd="relative"), ("transport", "cwd")),
        (HttpTransport(url="file:///etc/passwd"), ("transport", "url")),
        (
            HttpTransport(url="http://h/", headers={"Host": "x"}),
            ("transport", "headers", "Host"),
        ),
        (
            HttpTransport(url="http://h/", headers={"A b": "x"}),
            ("transport", "headers", "A b"),
        ),
        (
            HttpTransport(url="http://h/", headers={"A": "x\r\ny"}),
            ("transport", "headers", "A"),
        ),
        (HttpTransport(url="http://h/", headers={"A": "é"}), ("transport", "headers", "A")),
    ],
)
def test_a_transport_that_breaks_a_rule_names_the_field(
    transport: Transport, loc: tuple[str | int, ...]
) -> None:
    assert fields_refused(transport=transport) == {loc}


def test_all_faults_are_told_at_once() -> None:
    assert fields_refused(name="X", transport=HttpTransport(url="x"), tags=("",)) == {
        ("name",),
        ("tags",),
        ("transport", "url"),
    }


def test_the_old_transport_has_no_modern_era() -> None:
    transport = HttpTransport(url="http://h/sse", kind=HttpKind.SSE)
    assert fields_refused(transport=transport, era=EraChoice.MODERN) == {("era",)}


@pytest.mark.parametrize(
    "url",
    [
        "gopher://h/",
        "http://",
        "http:///x",
        "http://user@h/",
        "http://u:p@h/",
        "http://h/ x",
        "http://h/\r\nHost: x",
        "http://h:99999/",
        "http://h:0/",
        "http://[::1/",
        "http://h/#f",
        "unix:/tmp/x",
        "",
    ],
)
def test_what_is_no_server_address_is_refused(url: str) -> None:
    assert url_faults(url)


@pytest.mark.parametrize("url", ["http://h", "https://h:8443/mcp?x=1", "http://[::1]:3/mcp"])
def test_a_server_address_is_taken(url: str) -> None:
    assert url_faults(url) == []


def test_auto_admits_both_eras_and_a_choice_only_its_own() -> None:
    assert EraChoice.AUTO.admits(Era.LEGACY)
    assert EraChoice.AUTO.admits(Era.MODERN)
    assert EraChoice.LEGACY.admits(Era.LEGACY)
    assert not EraChoice.LEGACY.admits(Era.MODERN)
