"""One stdio server as a process: started bare, bounded, and ended with everything it started."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agenthub.adapters.outbound.mcp_client import pipes
from agenthub.adapters.outbound.mcp_client.output import MAX_LINE_BYTES, MAX_LINES, OutputTail
from agenthub.adapters.outbound.mcp_client.process import (
    INHERITED,
    ServerProcess,
    StartError,
    open_process,
)
from agenthub.domain.entities.endpoints import StdioTransport
from agenthub.domain.exceptions import HubError, UnavailableError
from tests.support.waiting import eventually, soon
from tests.unit.adapters.outbound.mcp_client.procs import guarded, is_alive, raw_command


class Heard:
    def __init__(self) -> None:
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self.lost: asyncio.Queue[HubError] = asyncio.Queue()
        self.output = OutputTail()

    async def reply(self) -> dict[str, Any]:
        return json.loads(await soon(self.lines.get()))


@asynccontextmanager
async def running(
    command: StdioTransport, data_dir: Path
) -> AsyncIterator[tuple[ServerProcess, Heard]]:
    heard = Heard()
    async with (
        guarded(data_dir) as guardian,
        open_process(
            command,
            server="srv",
            guardian=guardian,
            output=heard.output,
            on_line=heard.lines.put_nowait,
            on_lost=heard.lost.put_nowait,
        ) as process,
    ):
        yield process, heard


def asking(tool: str, number: int = 1) -> bytes:
    return json.dumps(
        {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": tool}}
    ).encode()


def python(code: str, **env: str) -> StdioTransport:
    return StdioTransport(command=sys.executable, args=("-I", "-S", "-c", code), env=env)


async def result_of(process: ServerProcess, heard: Heard, tool: str = "echo") -> dict[str, Any]:
    await process.send(asking(tool))
    return (await heard.reply())["result"]


@pytest.fixture(params=["asyncio", "asyncio+uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param.endswith("uvloop")}


async def test_a_message_goes_in_and_its_reply_comes_out(tmp_path: Path) -> None:
    async with running(raw_command(), tmp_path) as (process, heard):
        assert (await result_of(process, heard))["pid"] == process.pid


async def test_a_server_gets_no_secret_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTHUB_OWNER_TOKEN", "secret")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    async with running(raw_command(env={"MINE": "1"}), tmp_path) as (process, heard):
        env = (await result_of(process, heard, "env"))["env"]
    assert env.pop("MINE") == "1"
    assert env.pop("AGENTHUB_CHILD_OF")
    assert env["PATH"] == os.environ["PATH"]
    assert {*env} <= {*INHERITED, "LC_CTYPE"}
    assert not [name for name in INHERITED if "PROXY" in name.upper() or "TOKEN" in name]


async def test_a_crash_is_told_with_its_exit_code(tmp_path: Path) -> None:
    async with running(raw_command(), tmp_path) as (process, heard):
        await process.send(asking("crash"))
        assert "exit code 3" in (await soon(heard.lost.get())).message


async def test_a_closed_stdout_is_a_loss(tmp_path: Path) -> None:
    async with running(raw_command(), tmp_path) as (process, heard):
        await process.send(asking("close"))
        assert "closed its stdout" in (await soon(heard.lost.get())).message


async def test_a_last_word_before_the_end_is_heard(tmp_path: Path) -> None:
    async with running(python("print('{\"bye\":1}')"), tmp_path) as (_, heard):
        assert await soon(heard.lines.get()) == b'{"bye":1}'
        assert "exit code 0" in (await soon(heard.lost.get())).message


async def test_sending_to_what_has_ended_says_so(tmp_path: Path) -> None:
    async with running(python("pass"), tmp_path) as (process, heard):
        await soon(heard.lost.get())

        async def refused() -> bool:
            try:
                await process.send(b"{}" * 100)
            except UnavailableError:
                return True
            return False

        await eventually(refused)


async def test_a_line_without_end_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "MAX_LINE_BYTES", 1024 * 1024)
    async with running(raw_command(), tmp_path) as (process, heard):
        await process.send(asking("flood"))
        assert (await soon(heard.lost.get())).code == "server_flood"
        assert heard.lines.empty()


async def test_a_long_line_within_the_bound_arrives_whole(tmp_path: Path) -> None:
    code = (
        "import sys; sys.stdout.write('{' + 'x' * 3_000_000 + '}\\n'); sys.stdout.flush(); input()"
    )
    async with running(python(code), tmp_path) as (_, heard):
        assert len(await soon(heard.lines.get())) == 3_000_002


async def test_a_banner_is_passed_over_and_kept_for_people(tmp_path: Path) -> None:
    async with running(raw_command("legacy", "banner"), tmp_path) as (process, heard):
        await result_of(process, heard)
        await eventually(lambda: len(heard.output.lines()) == 2)
        assert set(heard.output.lines()) == {"[stdout] Welcome to the raw server!", "it is ready"}


async def test_a_program_that_only_chats_is_no_server(tmp_path: Path) -> None:
    code = "while True: print('hello')"
    async with running(python(code), tmp_path) as (_, heard):
        assert (await soon(heard.lost.get())).code == "server_no_mcp"


async def test_a_chattering_server_leaves_time_for_others(tmp_path: Path) -> None:
    async with running(raw_command(), tmp_path) as (process, heard):
        await process.send(asking("chatter"))
        await soon(heard.lines.get())
        begun = asyncio.get_running_loop().time()
        turns = 0
        while asyncio.get_running_loop().time() - begun < 0.5:
            await asyncio.sleep(0.001)
            turns += 1
        assert turns > 50
        assert heard.lines.qsize() < 6 * (pipes.WINDOW_LINES + 5000)


async def test_stderr_is_kept_within_bounds(tmp_path: Path) -> None:
    async with running(raw_command("legacy", "stderr-flood"), tmp_path) as (process, heard):
        await process.send(asking("echo"))
        await soon(heard.lines.get(), within_s=30)
        await eventually(lambda: len(heard.output.lines()) >= MAX_LINES)
        assert len(heard.output.lines()) <= MAX_LINES + 1
        assert max(map(len, heard.output.lines())) <= MAX_LINE_BYTES


async def test_a_server_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenthub.adapters.outbound.mcp_client.process.GRACE_S", 0.1)
    async with running(raw_command("legacy", "stubborn"), tmp_path) as (process, heard):
        await result_of(process, heard)
    assert not is_alive(process.pid)


@pytest.mark.parametrize("fault", ["kin", "escapee"])
async def test_what_a_server_started_ends_with_it(tmp_path: Path, fault: str) -> None:
    async with running(raw_command("legacy", fault), tmp_path) as (process, heard):
        kin = (await result_of(process, heard))["kin"]
        assert is_alive(kin[0])
    await eventually(lambda: not is_alive(kin[0]))


async def test_a_server_that_does_not_read_does_not_fill_the_memory(tmp_path: Path) -> None:
    async with running(raw_command(), tmp_path) as (process, heard):
        await process.send(asking("deaf"))
        assert await _filled(process) < 20
        assert heard.lost.empty()


async def _filled(process: ServerProcess) -> int:
    """Send until it no longer goes; give how many messages of 100 KB went."""
    sent = 0
    try:
        async with asyncio.timeout(0.3):
            while sent < 1000:
                await process.send(b"x" * 100_000)
                sent += 1
    except TimeoutError:
        pass
    return sent


async def test_leaving_while_cancelled_twice_still_kills(tmp_path: Path) -> None:
    pids: list[int] = []
    ready = asyncio.Event()

    async def hold() -> None:
        async with running(raw_command("legacy", "stubborn"), tmp_path) as (process, heard):
            await result_of(process, heard)
            pids.append(process.pid)
            ready.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(hold())
        await soon(ready.wait())
        task.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
    assert pids
    await eventually(lambda: not is_alive(pids[0]))


NOT_EXECUTABLE = "is not executable"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("no-such-program-here", "was not found on PATH"),
        ("/no/such/program", "There is no program at"),
        ("{dir}/plain.txt", NOT_EXECUTABLE),
        ("{dir}/broken", "names no interpreter"),
        ("{dir}/orphaned", "interpreter that its first line names"),
    ],
)
async def test_what_cannot_be_started_is_told_precisely(
    tmp_path: Path, command: str, says: str
) -> None:
    for name, text in {"plain.txt": "x", "broken": "\x7fELFx", "orphaned": "#!/no/such\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644 if name == "plain.txt" else 0o755)
    with pytest.raises(StartError, match=says):
        async with running(StdioTransport(command=command.format(dir=tmp_path)), tmp_path / "d"):
            pass


async def test_a_missing_working_directory_is_told(tmp_path: Path) -> None:
    command = StdioTransport(command="sh", cwd=str(tmp_path / "gone"))
    with pytest.raises(StartError, match="working directory"):
        async with running(command, tmp_path / "d"):
            pass
