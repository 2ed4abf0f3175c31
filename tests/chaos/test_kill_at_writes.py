"""`kill -9` before, in and after each single write: what was acknowledged is there afterwards."""

import itertools
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.registrar import UNHEARD
from tests.support.child import ChildError
from tests.support.faults import McpUpstream
from tests.support.hub_process import HubProcess
from tests.support.mortal_hub import DEATH_FILE

pytestmark = [pytest.mark.chaos, pytest.mark.e2e, pytest.mark.slow]

POINTS = 10
"""One call and one registration have fewer points; then they repeat."""

START_POINTS = 3

DEEDS_AT_MOST = 200


@dataclass(slots=True)
class Told:
    """What the hub acknowledged, and what it may have done unheard."""

    calls: int = 0
    unheard_calls: int = 0
    servers: tuple[str, ...] = ()
    unheard_servers: tuple[str, ...] = ()


@pytest.fixture
def death_file(tmp_path: Path) -> Path:
    return tmp_path / "death"


@pytest.fixture
def hub(make_hub: Callable[..., HubProcess], death_file: Path) -> Generator[HubProcess]:
    env = {DEATH_FILE: str(death_file)}
    with McpUpstream() as server, make_hub(launcher="tests.support.mortal_hub", **env) as hub:
        hub.register_http("well", server.url)
        yield hub


@pytest.mark.timeout(300)
def test_hub_killed_at_any_write_keeps_what_it_acknowledged(
    hub: HubProcess, death_file: Path
) -> None:
    told = Told()
    names = (f"s{number}" for number in itertools.count())
    for point in range(1, POINTS + 1):
        death_file.write_text(str(point))
        live_until_death(hub, told, names)
        death_file.unlink()
        hub.wait(5.0)
        hub.start()
        assert_kept(hub, told, point)


@pytest.mark.timeout(200)
def test_hub_killed_at_any_write_of_its_recovery_recovers_the_next_time(
    hub: HubProcess, death_file: Path
) -> None:
    told = Told()
    for point in range(1, START_POINTS + 1):
        for _ in range(3):
            assert call(hub)
            told.calls += 1
        hub.kill()
        death_file.write_text(str(point))
        with suppress(ChildError):  # there may be fewer points than that
            hub.start()
            hub.kill()
        death_file.unlink()
        hub.start()
        assert_kept(hub, told, point)


def live_until_death(hub: HubProcess, told: Told, names: Iterator[str]) -> None:
    """Call and register in turns until the hub is gone."""
    for _ in range(DEEDS_AT_MOST):
        name = next(names)
        told.unheard_calls += 1
        if not call(hub):
            return
        told.unheard_calls -= 1
        told.calls += 1
        told.unheard_servers += (name,)
        if not register(hub, name):
            return
        told.unheard_servers = told.unheard_servers[:-1]
        told.servers += (name,)
    raise AssertionError("the hub does not die")


def call(hub: HubProcess) -> bool:
    try:
        answer = hub.rest(
            "POST", "/api/mcp/servers/well/tools/echo", {"arguments": {"message": "x"}}
        )
    except UNHEARD:
        return False
    assert answer.status == 200, answer
    return True


def register(hub: HubProcess, name: str) -> bool:
    address = {"type": "streamable-http", "url": "http://127.0.0.1:9/mcp"}
    body = {"name": name, "transport": address, "enabled": False}
    try:
        answer = hub.rest("POST", "/api/mcp/servers", body)
    except UNHEARD:
        return False
    assert answer.status == 201, answer
    return True


def assert_kept(hub: HubProcess, told: Told, point: int) -> None:
    kept = {one["name"] for one in hub.rest("GET", "/api/mcp/servers?limit=200").body["items"]}
    assert {*told.servers} <= kept <= {*told.servers, *told.unheard_servers, "well"}, point
    with closing(sqlite3.connect(hub.data_dir / "agenthub.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = database.execute(
            "SELECT status, count(*), count(DISTINCT id) FROM ledger_entries GROUP BY status"
        ).fetchall()
    by_status = {status: number for status, number, _ in rows}
    assert all(number == distinct for _, number, distinct in rows)
    assert told.calls <= by_status.get("ok", 0) <= told.calls + told.unheard_calls, (point, rows)
    assert sum(by_status.values()) <= told.calls + told.unheard_calls, (point, rows)
    assert "reserved" not in by_status, "a call of a dead hub is still under way"
