"""`agenthub doctor` on a hub of its own process whose guards keep calls from its servers."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.test_command_line import DEMO, Shell
from tests.support.hub_process import HubProcess

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with HubProcess(tmp_path_factory.mktemp("doctor") / "data") as hub:
        made = Shell(hub)
        added = made.run("add", "demo", "--verify", "--", *DEMO)
        assert added.returncode == 0, added.stderr
        yield made


def test_a_breaker_that_is_held_open_is_told(shell: Shell) -> None:
    assert shell.run("doctor").returncode == 0
    shell.run("gate", "force-open", "demo")
    told = shell.run("doctor")
    assert (told.returncode, "agenthub gate reset demo" in told.stdout) == (1, True)
    assert "ready (forced_open)" in shell.run("ls").stdout
    shell.run("gate", "reset", "demo")
    assert "forced_open" not in shell.run("ls").stdout


def test_a_fallback_to_nowhere_is_told(shell: Shell) -> None:
    shell.run("policy", "set", "demo", "greet", "fallback.server=gone", "fallback.tool=x")
    told = shell.run("doctor", "demo").stdout
    assert "The fallback of demo greet names server gone, which is not there." in told
    shell.run("policy", "set", "demo", "greet", "fallback.server=demo", "fallback.tool=nothing")
    assert "demo's tool nothing, which it does not offer" in shell.run("doctor").stdout
    assert shell.run("policy", "set", "demo", "greet", "fallback=none").returncode == 0
    assert shell.run("doctor").returncode == 0


def test_a_faulty_file_stops_no_command_and_is_told(shell: Shell) -> None:
    file = shell.hub.data_dir / "agenthub.toml"
    file.write_text('[gateway]\ntimeout_s = "abc"\n')
    try:
        told = shell.run("doctor")
        assert (shell.run("ls").returncode, told.returncode) == (0, 1)
        assert "agenthub.toml: setting gateway.timeout_s: " in told.stdout
    finally:
        file.unlink()


def test_a_used_up_budget_is_told(shell: Shell) -> None:
    shell.run("policy", "set", "demo", "price_usd=1")
    added = shell.run("budget", "add", "1", "--server", "demo", "--hard-stop", "--json")
    try:
        assert shell.run("call", "demo__greet", "name=Ada").returncode == 0
        told = shell.run("doctor")
        assert (told.returncode, "agenthub budget set " in told.stdout) == (1, True)
    finally:
        shell.run("budget", "rm", json.loads(added.stdout)["id"])
        shell.run("policy", "set", "demo", "price_usd=none")
