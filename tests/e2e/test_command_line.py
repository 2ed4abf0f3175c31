"""The command line on a hub of its own process, as a person uses it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub_process import OWNER_TOKEN, HubProcess

pytestmark = pytest.mark.e2e

PATIENCE_S = 30.0
"""How long a program that was started may take to ask."""
DEMO = [sys.executable, "-m", "agenthub.demo"]


class Shell:
    """Runs `agenthub` beside a hub, the way a person's shell does."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub

    def run(
        self, *words: str, given: str | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AGENTHUB_")}
        return subprocess.run(
            [sys.executable, "-m", "agenthub", "--data-dir", str(self.hub.data_dir), *words],
            env={**clean, "AGENTHUB_OWNER_TOKEN": OWNER_TOKEN, **env},
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def json(self, *words: str):
        end = words.index("--") if "--" in words else len(words)
        done = self.run(*words[:end], "--json", *words[end:])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def eventually_waiting(shell: Shell) -> dict[str, Any]:
    """Give the one question that waits, as soon as it does."""
    ends_at = time.monotonic() + PATIENCE_S
    while not (found := shell.json("inbox")):
        assert time.monotonic() < ends_at, "nothing waits for a person"
    (question,) = found
    return question


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with HubProcess(tmp_path_factory.mktemp("cli") / "data") as hub:
        made = Shell(hub)
        added = made.run("add", "demo", "--verify", "--", *DEMO)
        assert added.returncode == 0, added.stderr
        yield made


def test_a_server_is_added_listed_and_removed(shell: Shell) -> None:
    added = shell.json("add", "second", "--tag", "x", "--", *DEMO)
    assert added["status"] == "ready"
    assert added["tags"] == ["x"]
    assert {one["name"] for one in shell.json("ls")} == {"demo", "second"}
    assert "second" in shell.run("ls").stdout
    assert shell.run("rm", "second").returncode == 0
    assert {one["name"] for one in shell.json("ls")} == {"demo"}


def test_the_items_of_a_server_are_listed(shell: Shell) -> None:
    items = shell.json("ls", "demo")
    assert "greet" in [one["name"] for one in items["tools"]]
    assert [one["uriTemplate"] for one in items["resource-templates"]] == ["demo://notes/{name}"]
    text = shell.run("ls", "demo").stdout
    assert "demo://clock" in text
    assert "translate" in text


def test_a_tool_is_called_with_named_values(shell: Shell) -> None:
    done = shell.run("call", "demo__greet", "name=Ada")
    assert done.returncode == 0, done.stderr
    assert "Hello, Ada!" in done.stdout


def test_a_tool_is_called_with_json(shell: Shell) -> None:
    result = shell.json("call", "demo__weather", "--arguments", '{"city": "Bern"}')
    assert result["structuredContent"]["city"] == "Bern"


def test_a_tool_that_fails_gives_exit_code_1(shell: Shell) -> None:
    done = shell.run("call", "demo__greet")
    assert done.returncode == 1
    assert "name" in done.stdout + done.stderr


def test_a_question_nobody_can_answer_is_a_clear_error(shell: Shell) -> None:
    done = shell.run("call", "demo__summarise", "text=x")
    assert done.returncode == 1
    assert "sampling" in (done.stdout + done.stderr).lower()


def test_a_question_is_answered_without_a_browser(shell: Shell) -> None:
    with ThreadPoolExecutor(1) as beside:
        call = beside.submit(shell.run, "call", "demo__plan_trip")
        question = eventually_waiting(shell)
        assert "Where would you like to go?" in shell.run("inbox").stdout
        answer = ("inbox", "answer", question["id"], "--accept", "--set")
        refused = shell.run(*answer, "destination=")
        assert (refused.returncode, "destination" in refused.stderr) == (1, True)
        assert shell.run(*answer, "destination=Bern").returncode == 0
        done = call.result(60)
    assert done.returncode == 0, done.stderr
    assert "nights in Bern" in done.stdout
    assert shell.json("inbox") == []


def test_a_held_call_is_denied_and_the_rule_revoked(shell: Shell) -> None:
    rule = shell.json("rules", "add", "ask", "--server", "demo", "--tool", "gre*")
    with ThreadPoolExecutor(1) as beside:
        call = beside.submit(shell.run, "call", "demo__greet", "name=Ada")
        question = eventually_waiting(shell)
        assert shell.run("inbox", "answer", question["id"], "--deny", "Not her.").returncode == 0
        denied = call.result(60)
    assert (denied.returncode, "Not her." in denied.stdout + denied.stderr) == (1, True)
    assert shell.run("rules", "rm", rule["id"]).returncode == 0
    assert shell.run("call", "demo__greet", "name=Ada").returncode == 0


def test_resources_and_prompts_are_read(shell: Shell) -> None:
    assert "AgentHub" in shell.run("read", "demo", "demo://notes/welcome").stdout
    rendered = shell.run("prompt", "demo__translate", "text=1", "language=Korean").stdout
    assert rendered.startswith("user: Translate into Korean")


def test_tools_are_searched(shell: Shell) -> None:
    found = shell.json("tools", "weather of a city")
    assert found[0]["name"] == "demo__weather"


def test_a_key_is_made_used_and_revoked(shell: Shell) -> None:
    key = shell.json("key", "add", "agent", "--scope", "tools:call", "--scope", "hub:read")
    assert shell.run("--token", key["secret"], "ls").returncode == 0
    assert shell.run("--token", key["secret"], "key", "ls").returncode == 1
    assert key["secret"] not in shell.run("key", "ls").stdout
    assert shell.run("key", "rm", key["id"]).returncode == 0
    refused = shell.run("--token", key["secret"], "ls")
    assert refused.returncode == 1
    assert "token" in refused.stderr


def test_a_group_is_made_listed_and_removed(shell: Shell) -> None:
    made = shell.run("group", "add", "pair", "demo:greet", "demo:weather")
    assert made.stdout.strip() == f"{shell.hub.url()}/groups/pair/mcp"
    group = shell.json("group", "ls")[0]
    assert group["members"][0]["server"] == "demo"
    assert sorted(group["members"][0]["tools"]) == ["greet", "weather"]
    assert shell.run("group", "rm", "pair").returncode == 0
    assert shell.json("group", "ls") == []


def test_a_configuration_is_imported(shell: Shell, tmp_path: Path) -> None:
    entry = {"command": DEMO[0], "args": DEMO[1:]}
    bad = {"command": DEMO[0], "env": {"LD_PRELOAD": "x"}}
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"One": entry, "bad": bad}}))
    shown = shell.run("import", str(file), "--dry-run")
    assert (shown.returncode, "one:" in shown.stdout) == (0, True)
    done = shell.run("import", str(file))
    assert done.returncode == 1
    assert "LD_PRELOAD" in done.stderr
    assert {one["name"] for one in shell.json("ls")} == {"demo", "one"}
    assert shell.run("rm", "one").returncode == 0


def test_the_doctor_says_what_is_wrong_and_what_to_do(shell: Shell) -> None:
    assert shell.run("doctor").returncode == 0
    shell.run("add", "broken", "--", "no-such-command-anywhere")
    sick = shell.run("doctor")
    assert sick.returncode == 1
    assert "no-such-command-anywhere" in sick.stdout
    assert shell.run("disable", "broken").returncode == 0
    assert "enable broken" in shell.run("doctor", "broken").stdout
    assert shell.run("rm", "broken").returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("add",),
        ("call", "no-separator"),
        ("call", "demo__greet", "novalue"),
        ("call", "demo__greet", "--arguments", "[1]"),
        ("add", "x", "http://h/", "extra"),
        ("add", "x", "--header", "A: b", "--", "command"),
        ("group", "add", "g", "demo:"),
    ],
)
def test_wrong_use_gives_exit_code_2(shell: Shell, words: tuple[str, ...]) -> None:
    done = shell.run(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr


@pytest.mark.parametrize(
    "words", [("ls", "nobody"), ("rm", "nobody"), ("add", "Bad Name", "--", "x"), ("import", "/no")]
)
def test_what_cannot_be_done_gives_exit_code_1_and_says_why(
    shell: Shell, words: tuple[str, ...]
) -> None:
    done = shell.run(*words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("agenthub: ")


def test_without_a_hub_the_command_says_how_to_start_one(shell: Shell) -> None:
    done = shell.run("--url", "http://127.0.0.1:9", "ls")
    assert done.returncode == 1
    assert "agenthub serve" in done.stderr


def test_without_a_token_the_command_says_where_it_comes_from(shell: Shell, tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("AGENTHUB_")}
    done = subprocess.run(
        [sys.executable, "-m", "agenthub", "--data-dir", str(tmp_path / "none"), "token"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "agenthub serve" in done.stderr


def test_the_owner_token_is_printed(shell: Shell) -> None:
    assert shell.run("token").stdout.strip() == OWNER_TOKEN


def test_a_budget_is_made_changed_listed_and_removed(shell: Shell) -> None:
    made = shell.json("budget", "add", "12.5", "--server", "demo", "--hard-stop", "--alert", "90")
    assert (made["subject"], made["limit_usd"], made["alerts"]) == ("demo", "12.50", [90])
    changed = shell.json("budget", "set", made["id"], "--limit", "20", "--soft")
    assert (changed["limit_usd"], changed["hard_stop"]) == ("20.00", False)
    assert "20.00" in shell.run("budget", "ls").stdout
    assert shell.run("budget", "rm", made["id"]).returncode == 0
    wrong = shell.run("budget", "add", "1e3")
    assert wrong.returncode == 1
    assert "limit_usd" in wrong.stderr


def test_costs_are_summed_up(shell: Shell) -> None:
    summary = shell.json("cost", "--by", "server")
    assert (summary["by"], summary["total"]["cost_usd"]) == ("server", "0.00")
    assert "total" in shell.run("cost").stdout
