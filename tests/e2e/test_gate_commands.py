"""`agenthub gate` and `agenthub instance` on a hub of its own process."""

from collections.abc import Iterator

import pytest

from tests.e2e.test_command_line import DEMO, Shell
from tests.support.hub_process import HubProcess

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with HubProcess(tmp_path_factory.mktemp("gates") / "data") as hub:
        made = Shell(hub)
        added = made.run("add", "demo", "--verify", "--", *DEMO)
        assert added.returncode == 0, added.stderr
        yield made


def states(shell: Shell) -> list[str]:
    gate = shell.json("gate", "show", "demo")
    return [one["breaker"]["state"] for one in gate["instances"]]


def test_breakers_are_shown_and_moved(shell: Shell) -> None:
    assert states(shell) == ["closed"]
    forced = shell.run("gate", "force-open", "demo")
    assert (forced.returncode, "forced_open" in forced.stdout) == (0, True)
    refused = shell.run("call", "demo__greet", "name=Ada")
    assert (refused.returncode, "operator" in refused.stderr + refused.stdout) == (1, True)
    assert shell.json("gate", "disable", "demo")["instances"][0]["breaker"]["state"] == "disabled"
    assert shell.run("call", "demo__greet", "name=Ada").returncode == 0
    assert shell.run("gate", "reset", "demo").returncode == 0
    assert states(shell) == ["closed"]


def test_a_limit_and_the_breakers_of_tools_are_shown(shell: Shell) -> None:
    assert shell.run("policy", "set", "demo", "rate_limit.rate_per_s=50").returncode == 0
    assert shell.run("call", "demo__greet", "name=Ada").returncode == 0
    shown = shell.run("gate", "show", "demo").stdout
    assert "50 calls a second, 50 at once" in shown
    assert any(line.split()[:1] == ["greet"] for line in shown.splitlines())


def test_an_unknown_server_or_instance_is_a_clear_failure(shell: Shell) -> None:
    for words in (("show", "nobody"), ("reset", "demo", "--instance", "nobody")):
        done = shell.run("gate", *words)
        assert (done.returncode, "nobody" in done.stderr) == (1, True)


def test_an_instance_is_added_changed_used_and_removed(shell: Shell) -> None:
    added = shell.json("instance", "add", "demo", "--weight", "3", "--", *DEMO)
    listed = shell.json("instance", "ls", "demo")
    assert [one["weight"] for one in listed] == [1, 3]
    changed = shell.json("instance", "set", "demo", added["id"], "--priority", "2", "--drain")
    assert (changed["priority"], changed["draining"]) == (2, True)
    assert "draining" in shell.run("instance", "ls", "demo").stdout
    opened = shell.json("gate", "force-open", "demo", "--instance", added["id"])
    found = {one["id"]: one["breaker"]["state"] for one in opened["instances"]}
    assert sorted(found.values()) == ["closed", "forced_open"]
    assert found[added["id"]] == "forced_open"
    assert shell.run("instance", "rm", "demo", added["id"]).returncode == 0
    assert len(shell.json("instance", "ls", "demo")) == 1


def test_nothing_to_change_is_wrong_use(shell: Shell) -> None:
    done = shell.run("instance", "set", "demo", "any")
    assert (done.returncode, "--weight" in done.stderr) == (2, True)
