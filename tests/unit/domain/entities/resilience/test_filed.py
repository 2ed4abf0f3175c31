"""The layers of a file: read as a whole, or refused with every field named by its path."""

from typing import Any

import pytest

from agenthub.domain.entities.resilience.filed import FileLayers, file_layers_of
from agenthub.domain.exceptions import InvalidError


def test_layers_of_hub_servers_and_tools_are_parted() -> None:
    document = {
        "timeout_s": 60,
        "servers": {
            "time": {"price_usd": "0.5", "tools": {"now/utc": {"calls_per_day": "none"}}},
            "git": {"tools": {}},
        },
    }
    layers = file_layers_of(document)
    assert layers == FileLayers(
        hub={"timeout_s": 60},
        servers={"time": {"price_nano_usd": 500_000_000}, "git": {}},
        tools={("time", "now/utc"): {"calls_per_day": None}},
    )
    assert layers.of(None, None) == {"timeout_s": 60}
    assert layers.of("time", "now/utc") == {"calls_per_day": None}
    assert layers.of("time", "other") == layers.of("other", None) == {}
    assert layers.names("time")
    assert not layers.names("other")
    assert not layers.names(None)


@pytest.mark.parametrize(
    ("document", "locs"),
    [
        ({"timeouts": 1}, [("timeouts",)]),
        ({"fallback": {"tool": "a"}}, [("fallback",)]),
        ({"servers": 1}, [("servers",)]),
        ({"servers": {"Time": {}}}, [("servers", "Time")]),
        ({"servers": {"time": 1}}, [("servers", "time")]),
        ({"servers": {"time": {"tools": []}}}, [("servers", "time", "tools")]),
        ({"servers": {"time": {"tools": {"a": 1}}}}, [("servers", "time", "tools", "a")]),
        (
            {"servers": {"time": {"tools": {"a": {"health": {}}}}}},
            [("servers", "time", "tools", "a", "health")],
        ),
        (
            {"servers": {"time": {"tools": {"a": {"tools": {}}}}}},
            [("servers", "time", "tools", "a", "tools")],
        ),
        (
            {"timeout_s": -1, "servers": {"time": {"breaker": {"open_s": True}}}},
            [("timeout_s",), ("servers", "time", "breaker", "open_s")],
        ),
        (
            {"breaker": {"open_s": 9}, "servers": {"time": {"breaker": {"max_open_s": 5}}}},
            [("servers", "time", "breaker", "open_s")],
        ),
    ],
)
def test_every_fault_is_named_by_its_path(
    document: dict[str, Any], locs: list[tuple[str, ...]]
) -> None:
    with pytest.raises(InvalidError) as refused:
        file_layers_of(document)
    assert [fault.loc for fault in refused.value.faults] == locs
