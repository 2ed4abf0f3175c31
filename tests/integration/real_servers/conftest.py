"""A hub with all real servers registered together, shared by the clients of this folder."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.real_servers.park import Server, real_servers, register_all
from tests.support.hub_process import HubProcess


@dataclass(frozen=True, slots=True)
class Park:
    """The real servers and the folder they work in."""

    servers: dict[str, Server]
    work: Path

    def words(self, run: str) -> dict[str, str]:
        """What the table's placeholders stand for in the pass called `run`."""
        return {"work": str(self.work), "run": run}


@pytest.fixture(scope="package")
def park(tmp_path_factory: pytest.TempPathFactory) -> Generator[Park]:
    work = tmp_path_factory.mktemp("real") / "work"
    with real_servers(work) as servers:
        yield Park(servers, work)


@pytest.fixture(scope="package")
def hub(park: Park, tmp_path_factory: pytest.TempPathFactory) -> Generator[HubProcess]:
    # Nobody sits at this hub: whoever cannot be asked has to be told so.
    env = {"AGENTHUB_HITL__ENABLED": "false"}
    with HubProcess(tmp_path_factory.mktemp("hub") / "data", env=env) as hub:
        register_all(hub, park.servers)
        yield hub
