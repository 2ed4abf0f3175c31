"""What a collector's state means for calls, which is nothing; and a hub that traces nothing."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agents import Agent, AgentEra, text_of
from tests.support.collector import Collector
from tests.support.fixture_process import FixtureProcess
from tests.support.hub_process import HubProcess
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.e2e

CALLS = 20
LONGEST_STOP_S = 9.0
"""Well below what the hub would wait for an export while it runs."""

META = {"traceparent": f"00-{7:032x}-{8:016x}-01", "tracestate": "vendor=1", "baggage": "a=b"}
LOADED = """
import asyncio, json, sys
from pathlib import Path
from agenthub.config.settings import Settings
from agenthub.main import AgentHub

async def live(settings):
    async with AgentHub(settings, "owner-token-of-the-tests").alive():
        pass

asyncio.run(live(Settings(data_dir=Path(sys.argv[1]), telemetry=json.loads(sys.argv[2]))))
names = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto")
print(json.dumps([name for name in names if name in sys.modules]))
"""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FixtureProcess]:
    folder = tmp_path_factory.mktemp("upstream")
    transport = ("--transport", "http")
    with FixtureProcess("era_server", "--era", "modern", *transport, log_dir=folder) as started:
        yield started


@pytest.fixture(scope="module")
def old_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FixtureProcess]:
    folder = tmp_path_factory.mktemp("old")
    transport = ("--transport", "http")
    with FixtureProcess("era_server", "--era", "legacy", *transport, log_dir=folder) as started:
        yield started


async def calls_go_on(hub: HubProcess) -> None:
    async with Agent(hub.url("/mcp"), hub.token, AgentEra.MODERN) as agent:
        for number in range(CALLS):
            message = await agent.call("new__echo", {"message": str(number)}, timeout_s=5)
            assert text_of(message) == str(number)


async def test_a_collector_that_is_not_there_is_told_once_and_costs_no_call(
    tmp_path: Path, upstream: FixtureProcess
) -> None:
    env = {"AGENTHUB_TELEMETRY__OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    with HubProcess(tmp_path / "hub", env=env) as hub:
        hub.register_http("new", upstream.url)
        await calls_go_on(hub)
        await eventually(lambda: "traces are not taken" in hub.log(), what="a warning")
        await calls_go_on(hub)
    assert hub.log().count("traces are not taken") == 1
    assert "Traceback" not in hub.log()


async def test_a_collector_that_hangs_or_fails_costs_no_call_and_holds_up_no_stop(
    tmp_path: Path, upstream: FixtureProcess
) -> None:
    with Collector() as collector, HubProcess(tmp_path / "hub", env=collector.settings()) as hub:
        hub.register_http("new", upstream.url)
        collector.status = 503
        await calls_go_on(hub)
        await eventually(lambda: "HTTP 503" in hub.log(), what="a warning")
        collector.hold()
        collector.asked.clear()
        await calls_go_on(hub)
        await eventually(collector.asked.is_set, what="an export that hangs")
        await calls_go_on(hub)
        began = time.monotonic()
        hub.stop()
        assert time.monotonic() - began < LONGEST_STOP_S
    assert "Traceback" not in hub.log()


async def test_what_is_traced_just_before_a_stop_is_sent_as_well(
    tmp_path: Path, upstream: FixtureProcess
) -> None:
    with Collector() as collector:
        with HubProcess(tmp_path / "hub", env=collector.settings()) as hub:
            hub.register_http("new", upstream.url)
            await calls_go_on(hub)
        assert len(collector.spans) == 2 * CALLS


async def test_without_a_collector_the_agents_context_goes_through_unchanged(
    tmp_path: Path, upstream: FixtureProcess, old_upstream: FixtureProcess
) -> None:
    with HubProcess(tmp_path / "hub") as hub:
        hub.register_http("new", upstream.url)
        hub.register_http("old", old_upstream.url)
        for era in AgentEra:
            async with Agent(hub.url("/mcp"), hub.token, era) as agent:
                for server in ("new", "old"):
                    params = {"name": f"{server}__who_asks", "arguments": {}, "_meta": META}
                    message = await agent.request("tools/call", params)
                    meta = json.loads(text_of(message))["meta"]
                    assert {name: meta.get(name) for name in META} == META


@pytest.mark.parametrize(
    ("telemetry", "is_loaded"),
    [({}, False), ({"otlp_endpoint": "http://127.0.0.1:9"}, True)],
)
def test_the_sdk_is_loaded_only_where_there_is_a_collector(
    tmp_path: Path, telemetry: dict[str, Any], is_loaded: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(tmp_path), json.dumps(telemetry)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert bool(json.loads(done.stdout.splitlines()[-1])) is is_loaded
