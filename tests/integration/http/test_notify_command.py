"""`agenthub notify` against a served hub."""

import asyncio

import pytest

from agenthub.adapters.inbound.cli.app import run
from agenthub.adapters.inbound.cli.local import Local, ServeOptions
from agenthub.adapters.outbound.clock.system import SystemClock
from tests.integration.http.world import TOKEN, Served
from tests.support.receiver import receiving


def _no_serve(options: ServeOptions) -> int:
    raise AssertionError("nothing is to be served here")


async def notify(hub: Served, *words: str) -> int:
    local = Local(
        version="0",
        now=SystemClock().now,
        serve=_no_serve,
        setting_faults=lambda folder: [],
        owner_token=lambda folder: TOKEN,
        address=lambda folder: f"http://127.0.0.1:{hub.port}",
    )
    return await asyncio.to_thread(run, local, ["notify", *words])


async def test_a_target_is_added_listed_tried_and_removed(
    hub: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    async with receiving() as receiver:
        assert await notify(hub, "add", "hook", receiver.url, "--event", "budget.alert") == 0
        said = capsys.readouterr()
        assert said.out.startswith("whsec_")
        assert "budget.alert" in said.err
        assert await notify(hub, "ls") == 0
        listed = capsys.readouterr().out
        assert f"http://127.0.0.1:{receiver.port}/***" in listed
        assert "s3cr3t" not in listed
        assert await notify(hub, "test", "hook") == 0
        assert len(receiver.got) == 1
        receiver.always = (500, {})
        assert await notify(hub, "test", "hook") == 1
        assert "500" in capsys.readouterr().err
        assert await notify(hub, "rm", "hook") == 0
        assert await notify(hub, "rm", "hook") == 1


async def test_an_address_of_another_scheme_is_for_apprise(
    hub: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await notify(hub, "add", "mail", "mailto://user:s3cr3t@example.com") == 0
    assert await notify(hub, "ls", "--json") == 0
    assert '"kind": "apprise"' in capsys.readouterr().out
    assert await notify(hub, "add", "local", "syslog://") == 1
    assert "address" in capsys.readouterr().err
