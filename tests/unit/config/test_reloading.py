"""Policies in agenthub.toml are taken up while the hub runs; a fault changes nothing."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from agenthub.config.policy_settings import read_policies
from agenthub.config.reloading import EVERY_S, ConfigWatch
from agenthub.config.settings import load_settings
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.entities.resilience.policy import GatewayPolicy
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.policies import PolicyService
from tests.fakes.clock import FakeClock
from tests.fakes.mcp_client import FakeMcpClient
from tests.fakes.storage import FakeUnitOfWork


class Pauses:
    """Lets the watch look once at a time."""

    def __init__(self) -> None:
        self.lengths: list[float] = []
        self._go = asyncio.Semaphore(0)
        self._waiting = asyncio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        self.lengths.append(seconds)
        self._waiting.release()
        await self._go.acquire()

    async def look(self) -> None:
        """Have the file looked at, once."""
        async with asyncio.timeout(5):
            await self._waiting.acquire()
            self._go.release()
            await self._waiting.acquire()
        self._waiting.release()


class Watched:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "agenthub.toml"
        self.pauses = Pauses()
        self.policies = PolicyService(
            client=FakeMcpClient(),
            clock=FakeClock(),
            directory=Directory(),
            file=read_policies(self.path),
            uow=FakeUnitOfWork(),
        )
        self.watch = ConfigWatch(
            policies=self.policies, settings=load_settings(data_dir=folder), pause=self.pauses
        )
        self._changes = 0

    @property
    def policy(self) -> GatewayPolicy:
        return self.policies.of(None)

    async def write(self, text: str) -> None:
        """Write the file at another time than before, and have it looked at."""
        self.path.write_text(text)
        self._changes += 1
        os.utime(self.path, (self._changes, self._changes))
        await self.pauses.look()


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncGenerator[Watched]:
    (tmp_path / "agenthub.toml").write_text("port = 1\n[gateway]\ntimeout_s = 5")
    watched = Watched(tmp_path)
    async with watched.watch:
        yield watched


async def test_a_changed_file_is_taken_up_and_told_once(
    hub: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert hub.policy.timeout_s == 5
    await hub.write("[gateway]\ntimeout_s = 6")
    assert hub.policy.timeout_s == 6
    await hub.pauses.look()
    assert len(caplog.records) == 1
    assert set(hub.pauses.lengths) == {EVERY_S}


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ("[gateway]\ntimeout_s = -1", "gateway.timeout_s"),
        ("[gateway.servers.time.breaker]\nopen = 1", "gateway.servers.time.breaker.open"),
        ("gateway = 1", "gateway"),
        ("[gateway", "TOML"),
    ],
)
async def test_a_fault_is_told_once_and_changes_nothing_until_it_is_mended(
    hub: Watched, caplog: pytest.LogCaptureFixture, bad: str, named: str
) -> None:
    caplog.set_level(logging.WARNING)
    await hub.write(bad)
    await hub.pauses.look()
    assert hub.policy.timeout_s == 5
    assert len(caplog.records) == 1
    assert named in caplog.text
    await hub.write("[gateway]\ntimeout_s = 7")
    assert hub.policy.timeout_s == 7


async def test_a_removed_file_leaves_what_is_built_in(hub: Watched) -> None:
    hub.path.unlink()
    await hub.pauses.look()
    assert hub.policy == GatewayPolicy()


async def test_a_file_that_cannot_be_read_changes_nothing(hub: Watched) -> None:
    hub.path.unlink()
    hub.path.mkdir()
    await hub.pauses.look()
    await hub.pauses.look()
    hub.path.rmdir()
    await hub.write("[gateway]\ntimeout_s = 9")
    assert hub.policy.timeout_s == 9


async def test_a_file_that_does_not_fit_is_tried_again_when_what_was_set_has_changed(
    hub: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await hub.policies.change(OWNER, None, None, {"breaker": {"max_open_s": 10}})
    await hub.write("[gateway.breaker]\nopen_s = 20")
    assert hub.policy.timeout_s == 5
    await hub.pauses.look()
    assert len(caplog.records) == 1
    await hub.policies.reset(OWNER)
    await hub.pauses.look()
    assert hub.policy.breaker.open_s == 20


async def test_other_settings_are_not_looked_at(hub: Watched) -> None:
    await hub.write('port = "many"\nunknown = 1\n[gateway]\ntimeout_s = 8')
    assert hub.policy.timeout_s == 8


async def test_the_environment_still_outdoes_a_changed_file(
    hub: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTHUB_GATEWAY__TIMEOUT_S", "3")
    await hub.write("[gateway]\ntimeout_s = 8\ntrusted = true")
    assert hub.policy.timeout_s == 3
    assert hub.policy.trusted


async def test_a_file_of_the_same_time_and_another_length_is_seen(hub: Watched) -> None:
    await hub.write("[gateway]\ntimeout_s = 8")
    hub._changes -= 1
    await hub.write("[gateway]\ntimeout_s = 80")
    assert hub.policy.timeout_s == 80


async def test_the_older_setting_of_the_timeout_holds_where_the_file_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTHUB_UPSTREAM__CALL_TIMEOUT_S", "44")
    hub = Watched(tmp_path)
    async with hub.watch:
        await hub.write("[gateway]\ntrusted = true")
        assert hub.policy.timeout_s == 44
        await hub.write("[gateway]\ntimeout_s = 55")
        assert hub.policy.timeout_s == 55


async def test_a_change_between_reading_and_watching_is_taken_up(tmp_path: Path) -> None:
    made = Watched(tmp_path)
    made.path.write_text("[gateway]\ntimeout_s = 7\n")
    async with made.watch:
        await made.pauses.look()
        assert made.policy.timeout_s == 7


async def test_a_mended_file_is_told_once(hub: Watched, caplog: pytest.LogCaptureFixture) -> None:
    await hub.write("[gateway\n")
    caplog.set_level(logging.INFO)
    caplog.clear()
    await hub.write("port = 1\n[gateway]\ntimeout_s = 5")
    await hub.pauses.look()
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (logging.INFO, "agenthub.toml is mended, its policies hold")
    ]
