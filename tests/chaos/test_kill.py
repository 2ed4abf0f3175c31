"""`kill -9` of the hub at any moment: what it acknowledged is there again, no child is left."""

import random
import sqlite3
from collections.abc import Callable, Generator
from typing import Any

import psutil
import pytest

from tests.chaos.park import register_unseen
from tests.chaos.registrar import ANCHORS, Memory, State, Worker
from tests.support.fault_stdio import FaultyStdio, StdioFault
from tests.support.hub_process import HubProcess
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.e2e, pytest.mark.slow]

WORKERS = 3
KILLS = 4
FEWEST_CHANGES = 20
MOST_CHANGES = 120
GONE_WITHIN_S = 5.0


@pytest.fixture
def hub(make_hub: Callable[..., HubProcess]) -> Generator[HubProcess]:
    with make_hub() as hub:
        yield hub


@pytest.mark.timeout(120)
async def test_everything_acknowledged_survives_and_nothing_half_is_found(hub: HubProcess) -> None:
    for name in ANCHORS:
        address = {"type": "streamable-http", "url": "http://127.0.0.1:9/mcp"}
        body = {"name": name, "transport": address, "enabled": False}
        assert hub.rest("POST", "/api/mcp/servers", body).status == 201
    chance = random.Random(hub.pid)
    everybody: list[Worker] = []
    for round_ in range(KILLS):
        workers = [Worker(hub, f"w{round_}{n}", hub.pid + n) for n in range(WORKERS)]
        for worker in workers:
            worker.start()
        enough = chance.randint(FEWEST_CHANGES, MOST_CHANGES)
        await eventually(lambda w=workers, e=enough: changes(w) >= e, within_s=20.0)
        hub.kill()
        for worker in workers:
            worker.join()
        hub.start()
        assert_sound(hub)
        for worker in workers:
            assert_remembered(hub, worker.memory)
        everybody += workers
        assert_nothing_else(hub, everybody)
        forget(hub)


def changes(workers: list[Worker]) -> int:
    for worker in workers:
        assert worker.failure is None, worker.failure
    return sum(worker.memory.acknowledged for worker in workers)


def listed(hub: HubProcess, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = hub.rest("GET", f"{path}?limit=200{cursor}")
        assert answer.status == 200, answer
        items += answer.body["items"]
        if answer.body["next_cursor"] is None:
            return items
        cursor = f"&cursor={answer.body['next_cursor']}"


def assert_sound(hub: HubProcess) -> None:
    """The database itself says that it is whole."""
    with sqlite3.connect(f"file:{hub.data_dir / 'agenthub.db'}?mode=ro", uri=True) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    database.close()


def assert_remembered(hub: HubProcess, memory: Memory) -> None:
    servers = {one["name"]: one for one in listed(hub, "/api/mcp/servers")}
    for name, states in memory.servers.items():
        assert server_of(servers.get(name)) in states, (name, states, servers.get(name))
    groups = {one["slug"]: one for one in listed(hub, "/api/groups")}
    for slug, states in memory.groups.items():
        assert group_of(groups.get(slug)) in states, (slug, states, groups.get(slug))
    for name, secret in memory.keys.items():
        assert opens(hub, secret), f"the key {name} was acknowledged and is gone"
    for secret in memory.revoked:
        assert not opens(hub, secret), "a revoked key opens again"


def assert_nothing_else(hub: HubProcess, everybody: list[Worker]) -> None:
    known = {*ANCHORS}
    for worker in everybody:
        known |= {*worker.memory.servers, *worker.memory.groups, *worker.key_names}
    kept = {one["name"] for one in listed(hub, "/api/mcp/servers") + listed(hub, "/api/keys")}
    kept |= {one["slug"] for one in listed(hub, "/api/groups")}
    assert kept <= known


def forget(hub: HubProcess) -> None:
    """Make the next round's lists short."""
    for server in listed(hub, "/api/mcp/servers"):
        if server["name"] not in ANCHORS:
            hub.unregister(server["name"])
    for group in listed(hub, "/api/groups"):
        assert hub.rest("DELETE", f"/api/groups/{group['slug']}").status in (200, 204)


def server_of(record: dict[str, Any] | None) -> State:
    """What the registrar said of a server, out of the hub's record of it."""
    if record is None:
        return None
    transport = {name: record["transport"][name] for name in ("type", "url")}
    return {
        "name": record["name"],
        "transport": transport,
        "tags": record["tags"],
        "enabled": record["enabled"],
    }


def group_of(record: dict[str, Any] | None) -> State:
    if record is None:
        return None
    members = [{"server": member["server"]} for member in record["members"]]
    return {"slug": record["slug"], "name": record["name"], "members": members}


def opens(hub: HubProcess, secret: str) -> bool:
    headers = {"Authorization": f"Bearer {secret}"}
    status = hub.rest("GET", "/api/mcp/servers", headers=headers).status
    assert status in (200, 401), status
    return status == 200


FAMILIES = (
    StdioFault.NONE,
    StdioFault.STUBBORN,
    StdioFault.GRANDCHILD,
    StdioFault.STUBBORN_FAMILY,
)


async def test_killed_hub_leaves_no_process_and_starts_its_servers_again(
    hub: HubProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    servers = [FaultyStdio(tmp_path_factory.mktemp("stdio")) for _ in FAMILIES]
    try:
        for number, (server, fault) in enumerate(zip(servers, FAMILIES, strict=True)):
            server.plant(fault)
            register_unseen(hub, f"family-{number}", server)
            assert server.processes()
        others = psutil.Process(hub.pid).children(recursive=True)
        hub.kill()
        await eventually(
            lambda: not any(server.processes() for server in servers),
            within_s=GONE_WITHIN_S,
            what="all children of the killed hub are gone",
        )
        await eventually(lambda: not any(map(lives, others)), within_s=GONE_WITHIN_S)
        hub.start()
        await eventually(lambda: all(server.processes() for server in servers), within_s=20.0)
    finally:
        hub.stop()
        for server in servers:
            server.end_all()


async def test_hub_killed_while_it_starts_servers_leaves_no_process(
    hub: HubProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Children that are only just being started bear no mark yet; they must not slip through."""
    servers = [FaultyStdio(tmp_path_factory.mktemp("stdio")) for _ in range(6)]
    try:
        for number, server in enumerate(servers):
            register_unseen(hub, f"family-{number}", server)
            server.plant(StdioFault.STUBBORN_FAMILY)  # from its next start on
        hub.stop()
        assert not any(server.processes() for server in servers)
        for wanted in (1, 4):
            hub.start()
            await eventually(
                lambda w=wanted: sum(bool(server.processes()) for server in servers) >= w,
                within_s=20.0,
            )
            hub.kill()
            await eventually(
                lambda: not any(server.processes() for server in servers),
                within_s=GONE_WITHIN_S,
                what="all children of the killed hub are gone",
            )
    finally:
        for server in servers:
            server.end_all()


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
