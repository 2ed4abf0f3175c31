"""`agenthub top` on a hub of its own process: one frame, and many of them in a terminal."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.test_command_line import DEMO, Shell
from tests.support.hub_process import OWNER_TOKEN, HubProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.e2e

STARTING_S = 20.0
"""A Python program needs its time on a machine that is busy with tests."""

CALLS = 12


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with HubProcess(tmp_path_factory.mktemp("top") / "data") as hub:
        hub.register_stdio("demo", *DEMO)
        made = Shell(hub)
        price = hub.rest("PATCH", "/api/gateway/servers/demo/policy", {"price_usd": "0.5"})
        assert price.status == 200, price.body
        for _ in range(CALLS):
            call = {"arguments": {"name": "Ada"}}
            assert hub.rest("POST", "/api/mcp/servers/demo/tools/greet", call).status == 200
        yield made


class Running:
    """`agenthub top` under way. What it wrote so far is in `text`."""

    def __init__(self, process: subprocess.Popen[bytes], read_from: int) -> None:
        self.process = process
        self._read_from = read_from
        self._seen = b""
        os.set_blocking(read_from, False)

    @property
    def text(self) -> str:
        try:
            while part := os.read(self._read_from, 65_536):
                self._seen += part
        except OSError:
            pass  # nothing more now, or the terminal is closed
        return self._seen.decode(errors="replace")

    def forget(self) -> None:
        """Look at what comes from now on."""
        _ = self.text
        self._seen = b""

    async def shows(self, *words: str) -> None:
        await eventually(
            lambda: all(word in self.text for word in words),
            within_s=STARTING_S,
            what=f"{words} in:\n{self._seen.decode(errors='replace')[-2000:]}",
        )

    async def interrupt(self) -> int:
        """Press Ctrl-C; give the exit code."""
        self.process.send_signal(signal.SIGINT)
        await eventually(
            lambda: self.process.poll() is not None, within_s=STARTING_S, what="its end"
        )
        return self.process.returncode


@contextmanager
def running(hub: HubProcess, *, terminal: bool) -> Generator[Running]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AGENTHUB_")}
    env = {**clean, "AGENTHUB_OWNER_TOKEN": OWNER_TOKEN, "COLUMNS": "80", "LINES": "24"}
    env |= {"TERM": "xterm", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "agenthub", "--data-dir", str(hub.data_dir)]
    read_from, write_to = pty.openpty() if terminal else os.pipe()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in what a shell runs behind itself
        signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*command, "top", "--interval", "0.2"],
        stdin=subprocess.DEVNULL,
        stdout=write_to,
        stderr=write_to,
        env=env,
        start_new_session=True,
    )
    os.close(write_to)
    try:
        yield Running(process, read_from)
    finally:
        process.kill()
        process.wait(5)
        os.close(read_from)


def test_one_frame_is_a_document_for_scripts(shell: Shell) -> None:
    frame = shell.json("top", "--once", "--interval", "0.2")
    assert frame["hub"] == shell.hub.url()
    [demo] = frame["servers"]
    assert (demo["name"], demo["status"], demo["breaker"]) == ("demo", "ready", "closed")
    assert (demo["calls_per_s"], demo["errors_per_s"]) == (0, 0)
    assert 0 < demo["p50_s"] <= demo["p95_s"]
    assert demo["today_nano_usd"] == frame["month"]["spent_nano_usd"] == CALLS * 500_000_000
    assert frame["month"]["limit_nano_usd"] == 100_000_000_000
    assert "ready" in [one.get("status") for one in frame["events"]]


def test_one_frame_is_printed_in_80_columns_without_colour(shell: Shell) -> None:
    done = shell.run("top", "--once", "--interval", "0.2", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout
    assert any("$6.00 of $100.00 (6 %)" in line for line in lines)
    assert any(line.startswith("demo ") and "$6.00" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("top", "--json"), 2),
        (("top", "--once", "--interval", "0.1"), 2),
        (("top", "--once", "--interval", "61"), 2),
        (("--url", "http://127.0.0.1:9", "top", "--once"), 1),
        (("--token", "agh_wrong", "top"), 1),
    ],
)
def test_wrong_use_and_a_refusal_end_it(shell: Shell, words: tuple[str, ...], code: int) -> None:
    done = shell.run(*words)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)


def test_a_reader_may_watch(shell: Shell) -> None:
    key = shell.json("key", "add", "watcher", "--scope", "hub:read")
    done = shell.run("--token", key["secret"], "top", "--once", "--json", "--interval", "0.2")
    assert done.returncode == 0, done.stderr
    assert [one["name"] for one in json.loads(done.stdout)["servers"]] == ["demo"]


async def test_a_terminal_shows_a_breaker_that_moves_and_is_given_back(shell: Shell) -> None:
    gate = "/api/gateway/servers/demo"
    with running(shell.hub, terminal=True) as top:
        await top.shows("demo", "closed", "$6.00 of $100.00")
        top.forget()
        shell.hub.rest("POST", f"{gate}/force-open")
        await top.shows("forced_open", "1 in trouble", "breaker closed -> forced_open (operator)")
        shell.hub.rest("POST", f"{gate}/reset")
        await top.shows("breaker forced_open -> closed")
        assert await top.interrupt() == 0
        assert "\x1b[?1049l" in top.text, "the terminal's own screen is not back"
        assert "Traceback" not in top.text
        assert "\x1b[31m" not in top.text, "NO_COLOR is not heeded"


@pytest.mark.timeout(180)
async def test_a_hub_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    with HubProcess(tmp_path / "data") as hub:
        hub.register_stdio("demo", *DEMO)
        with running(hub, terminal=False) as top:
            await top.shows("demo", "closed")
            hub.kill()
            await top.shows("No hub answers", "Waiting for it.", "This was seen at")
            hub.start()
            top.forget()
            await top.shows("demo", "ready", "up 0 min")
            hub.rest("POST", "/api/gateway/servers/demo/force-open")
            await top.shows("breaker closed -> forced_open")
            assert await top.interrupt() == 0
            assert "Traceback" not in top.text
