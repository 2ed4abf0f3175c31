"""Policies as settings: the file, the environment that outdoes it, and faults by name."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agenthub.config.policy_settings import read_policies
from agenthub.config.settings import load_settings
from agenthub.domain.entities.resilience.filed import file_layers_of

FILE = """
[gateway]
timeout_s = 10
[gateway.breaker]
open_s = 3
calm_s = 4
[gateway.servers.time-zone]
price_usd = "0.25"
[gateway.servers.time-zone.tools."Now/utc"]
calls_per_day = "none"
"""


def load(folder: Path, text: str = FILE) -> dict[str, Any]:
    (folder / "agenthub.toml").write_text(text)
    gateway = load_settings(data_dir=folder).gateway
    assert read_policies(folder / "agenthub.toml") == file_layers_of(gateway)
    return gateway


def test_the_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    assert load(tmp_path) == {
        "timeout_s": 10,
        "breaker": {"open_s": 3, "calm_s": 4},
        "servers": {
            "time-zone": {
                "price_usd": "0.25",
                "tools": {"Now/utc": {"calls_per_day": "none"}},
            }
        },
    }


def test_without_a_file_there_are_no_layers(tmp_path: Path) -> None:
    assert load_settings(data_dir=tmp_path).gateway == {}


def test_the_environment_outdoes_the_file_field_by_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "BREAKER__OPEN_S": "7.5",
        "TRUSTED": "true",
        "BALANCING": "round_robin",
        "PRICE_USD": "2",
        "RATE_LIMIT": '{"rate_per_s": 4}',
        "SERVERS__TIME-ZONE__PRICE_USD": "0.10",
        "SERVERS__GIT__TIMEOUT_S": "1",
    }
    for name, text in given.items():
        monkeypatch.setenv(f"AGENTHUB_GATEWAY__{name}", text)
    gateway = load(tmp_path)
    assert gateway["breaker"] == {"open_s": 7.5, "calm_s": 4}
    assert gateway["servers"]["time-zone"]["price_usd"] == "0.10"
    assert gateway["servers"]["git"] == {"timeout_s": 1}
    assert gateway["rate_limit"] == {"rate_per_s": 4}
    assert (gateway["trusted"], gateway["price_usd"]) == (True, "2")


@pytest.mark.parametrize(
    ("text", "loc"),
    [
        ("[gateway]\ntimeout_s = 0", ("gateway", "timeout_s")),
        ("[gateway]\ntimeout_s = nan", ("gateway", "timeout_s")),
        ("[gateway]\ntimeout = 1", ("gateway", "timeout")),
        (
            "[gateway.servers.time.tools.now.health]\nenabled = true",
            ("gateway", "servers", "time", "tools", "now", "health"),
        ),
        ("[gateway.servers.time]\nbalancing = '{x}'", ("gateway", "servers", "time", "balancing")),
        ("gateway = 1", ("gateway",)),
    ],
)
def test_a_fault_is_named_as_a_setting(tmp_path: Path, text: str, loc: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        load(tmp_path, text)
    assert [one["loc"] for one in refused.value.errors()] == [loc]


def test_a_fault_in_the_environment_is_named_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTHUB_GATEWAY__BREAKER__OPEN_S", "NaN")
    with pytest.raises(ValidationError) as refused:
        load(tmp_path)
    assert [one["loc"] for one in refused.value.errors()] == [("gateway", "breaker", "open_s")]
