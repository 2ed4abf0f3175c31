"""What was acknowledged survives a kill, and the file on the disk keeps its secrets."""

import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select, update

from agenthub.adapters.outbound.clock.system import SystemClock
from agenthub.adapters.outbound.event_bus.memory import MemoryEventBus
from agenthub.adapters.outbound.secrets.envelope import EnvelopeSecretBox
from agenthub.adapters.outbound.storage.endpoints import ENDPOINTS
from agenthub.adapters.outbound.storage.engine import Database
from agenthub.adapters.outbound.storage.unit_of_work import SqlUnitOfWork
from agenthub.domain.entities.endpoints import HttpTransport, StdioTransport
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import HubError
from agenthub.domain.ids import DEFAULT_WORKSPACE
from agenthub.domain.ports.outbound.secrets import SecretBox
from tests.contracts.samples import endpoint
from tests.fakes.secrets import FakeSecretBox

KILLS = 4
ROOT = Path(__file__).parents[2]
SECRETS = ("sk-live-0a1b2c3d", "Bearer tok-4e5f6a7b")


def unit_of_work(database: Database, secrets: SecretBox) -> SqlUnitOfWork:
    return SqlUnitOfWork(
        bus=MemoryEventBus(), clock=SystemClock(), database=database, secrets=secrets
    )


def write_until_killed(url: str, first: int, acknowledged: int) -> list[int]:
    """Give the numbers that a writer acknowledged before it was killed; at least so many."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contracts.writer", url, str(first)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")},
    ) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(acknowledged)]
        writer.kill()
        lines += writer.stdout.readlines()
    return [int(line) for line in lines if line.endswith(b"\n")]


async def test_a_kill_loses_nothing_that_was_acknowledged(fresh_url: str) -> None:
    acknowledged: list[int] = []
    for _ in range(KILLS):
        first = acknowledged[-1] + 2 if acknowledged else 0
        acknowledged += write_until_killed(fresh_url, first, random.randint(1, 60))
        async with Database(url=fresh_url) as database:
            uow = unit_of_work(database, FakeSecretBox())
            async with uow.read(OWNER) as stored:
                events = await stored.events.after(0, limit=100_000)
                told = [event.facts["status"] for event in events]
                kept = [name for name in told if await stored.endpoints.find(name) is not None]
        assert {f"s{number}" for number in acknowledged} <= set(told)
        assert kept == told


async def test_no_secret_stands_in_the_files_of_the_database(tmp_path: Path) -> None:
    file = tmp_path / "data" / "hub.db"
    async with Database(url=f"sqlite:///{file}") as database:
        uow = unit_of_work(database, EnvelopeSecretBox(key_path=tmp_path / "data" / "secret.key"))
        async with uow.begin(OWNER) as tx:
            env = {"API_KEY": SECRETS[0]}
            await tx.endpoints.add(
                endpoint("one", transport=StdioTransport(command="run-me", env=env))
            )
            headers = {"Authorization": SECRETS[1]}
            await tx.endpoints.add(
                endpoint("two", transport=HttpTransport(url="http://x/mcp", headers=headers))
            )
            await tx.commit()
        files = sorted(path for path in file.parent.iterdir() if path.name.startswith("hub.db"))
        written = b"".join(path.read_bytes() for path in files)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in files}
    written += file.read_bytes()
    assert b"run-me" in written
    assert len(files) == 3
    assert modes == {0o600}
    for secret in SECRETS:
        assert secret.encode() not in written
        assert secret.encode().hex().encode() not in written


async def test_secrets_sealed_under_another_key_are_said_to_be_unreadable(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    async with Database(url=url) as database:
        uow = unit_of_work(database, EnvelopeSecretBox(key_path=tmp_path / "first.key"))
        async with uow.begin(OWNER) as tx:
            transport = StdioTransport(command="a", env={"KEY": SECRETS[0]})
            await tx.endpoints.add(endpoint("one", transport=transport))
            await tx.commit()
        other = unit_of_work(database, EnvelopeSecretBox(key_path=tmp_path / "second.key"))
        async with other.read(OWNER) as stored:
            with pytest.raises(HubError) as refused:
                await stored.endpoints.page(limit=9, after=None)
    assert refused.value.code == "secrets_unreadable"
    assert SECRETS[0] not in str(refused.value)


async def test_sealed_secrets_do_not_open_for_another_server(tmp_path: Path) -> None:
    """Who can write to the database cannot have one server sent another one's secrets."""
    async with Database(url=f"sqlite:///{tmp_path / 'hub.db'}") as database:
        uow = unit_of_work(database, EnvelopeSecretBox(key_path=tmp_path / "key"))
        async with uow.begin(OWNER) as tx:
            transport = StdioTransport(command="a", env={"KEY": SECRETS[0]})
            await tx.endpoints.add(endpoint("one", transport=transport))
            await tx.endpoints.add(endpoint("two"))
            await tx.commit()
        async with database.writing(DEFAULT_WORKSPACE) as connection:
            stolen = select(ENDPOINTS.c.secrets).where(ENDPOINTS.c.name == "one").scalar_subquery()
            await connection.execute(update(ENDPOINTS).values(secrets=stolen))
            await connection.commit()
        async with uow.read(OWNER) as stored:
            assert await stored.endpoints.find("one") is not None
            with pytest.raises(HubError) as refused:
                await stored.endpoints.find("two")
    assert refused.value.code == "secrets_unreadable"
