"""Policies of a hub in its own process: by file, by REST, by command line, without a restart."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub_process import OWNER_TOKEN, HubProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.e2e

POLICY = "/api/gateway/policy"
SERVER = "/api/gateway/servers/demo/policy"
GREET = "/api/mcp/servers/demo/tools/greet"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    data = tmp_path / "data"
    data.mkdir()
    (data / "agenthub.toml").write_text("[gateway]\ntimeout_s = 50\n")
    with HubProcess(data) as started:
        started.register_stdio("demo", sys.executable, "-m", "agenthub.demo")
        yield started


def effective(hub: HubProcess, place: str = SERVER) -> dict[str, Any]:
    answer = hub.rest("GET", place)
    assert answer.status == 200, answer.body
    return answer.body["effective"]


def greet(hub: HubProcess) -> int:
    return hub.rest("POST", GREET, {"arguments": {"name": "Ada"}}).status


def agenthub(hub: HubProcess, *words: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AGENTHUB_")}
    return subprocess.run(
        [sys.executable, "-m", "agenthub", "--data-dir", str(hub.data_dir), *words],
        env={**clean, "AGENTHUB_OWNER_TOKEN": OWNER_TOKEN},
        capture_output=True,
        text=True,
        timeout=60,
    )


async def test_a_limit_in_the_file_holds_without_a_restart(hub: HubProcess) -> None:
    file = hub.data_dir / "agenthub.toml"
    assert effective(hub)["timeout_s"] == 50
    assert [greet(hub), greet(hub)] == [200, 200]
    file.write_text("[gateway.servers.demo]\nrate_limit = { rate_per_s = 0.01, burst = 1 }\n")
    await eventually(lambda: effective(hub)["rate_limit"], what="the file is taken up")
    assert [greet(hub), greet(hub)] == [200, 429]
    file.write_text("[gateway.servers.demo]\nrate_limits = 5\n")
    await eventually(lambda: "gateway.servers.demo.rate_limits" in hub.log(), what="a warning")
    assert greet(hub) == 429
    file.write_text("[gateway]\ntimeout_s = 60\n")
    await eventually(lambda: effective(hub)["timeout_s"] == 60, what="the mended file")
    assert greet(hub) == 200


def test_what_is_set_by_rest_outlives_a_restart(hub: HubProcess) -> None:
    limit = {"rate_limit": {"rate_per_s": 0.01, "burst": 1}}
    assert hub.rest("PATCH", SERVER, limit).status == 200
    assert [greet(hub), greet(hub)] == [200, 429]
    hub.stop()
    hub.start()
    assert effective(hub)["rate_limit"] == limit["rate_limit"]
    assert hub.rest("DELETE", SERVER).status == 204
    assert effective(hub)["rate_limit"] is None


def test_a_policy_is_set_shown_and_reset_from_the_command_line(hub: HubProcess) -> None:
    done = agenthub(hub, "policy", "set", "demo", "breaker.open_s=10", "price_usd=0.10")
    assert done.returncode == 0, done.stderr
    shown = agenthub(hub, "policy", "show", "demo", "greet", "--json")
    assert json.loads(shown.stdout)["effective"]["price_usd"] == "0.1"
    lines = agenthub(hub, "policy", "show", "demo").stdout.splitlines()
    assert ["breaker.open_s", "10", "here"] in [line.split() for line in lines]
    wrong = agenthub(hub, "policy", "set", "demo", "breaker.open_s=-1")
    assert (wrong.returncode, "breaker.open_s" in wrong.stderr) == (1, True)
    assert agenthub(hub, "policy", "reset", "demo").returncode == 0
    assert effective(hub)["breaker"]["open_s"] == 5


def test_a_wrong_policy_in_the_file_stops_the_start_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "agenthub.toml").write_text("[gateway.breaker]\nopen_s = -1\n")
    done = subprocess.run(
        [sys.executable, "-m", "agenthub", "serve", "--data-dir", str(tmp_path), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "gateway.breaker.open_s" in done.stderr
