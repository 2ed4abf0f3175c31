"""What a journal keeps, in memory and on the disk, and what a killed process leaves in it."""

import asyncio
import errno
import os
import random
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest

from agenthub.adapters.outbound.journal.file import FileJournal
from agenthub.domain.exceptions import UnavailableError
from tests.fakes.journal import FakeJournal

KILLS = 4
ROOT = Path(__file__).parents[2]
ODD = [b"", b"one", b"\x00\xff", b"two words", b"x" * 100_000]

Journals = Callable[[], FileJournal | FakeJournal]


@pytest.fixture(params=["fake", "file", "synced file"])
def journals(request: pytest.FixtureRequest, tmp_path: Path) -> Journals:
    """Give the journals of one process after the other, over the same records."""
    last = FakeJournal()

    def fake() -> FakeJournal:
        nonlocal last
        last = last.crashed()
        return last

    def file() -> FileJournal:
        return FileJournal(folder=tmp_path / "data", sync=request.param == "synced file")

    return fake if request.param == "fake" else file


async def test_the_next_process_finds_every_record_in_its_order(journals: Journals) -> None:
    async with journals() as first:
        for record in ODD:
            first.append(record)
        assert list(first.replay()) == []
    async with journals() as second:
        assert list(second.replay()) == ODD
        second.append(b"more")
        assert list(second.replay()) == ODD
    async with journals() as third:
        assert list(third.replay()) == [*ODD, b"more"]


async def test_ended_segments_are_replayed_and_dropped_with_all_before_them(
    journals: Journals,
) -> None:
    async with journals() as journal:
        ended: list[int] = []
        for record in (b"a", b"b", b"c"):
            journal.append(record)
            ended.append(journal.rotate())
        journal.append(b"d")
        assert ended == sorted(set(ended))
        assert list(journal.replay()) == [b"a", b"b", b"c"]
        journal.drop(ended[1])
        assert list(journal.replay()) == [b"c"]
    async with journals() as journal:
        assert list(journal.replay()) == [b"c", b"d"]
        journal.drop(journal.rotate())
        assert list(journal.replay()) == []
    async with journals() as journal:
        assert list(journal.replay()) == []


async def test_the_present_segment_is_never_dropped(journals: Journals) -> None:
    async with journals() as journal:
        journal.append(b"a")
        journal.drop(1_000)
        journal.append(b"b")
    async with journals() as journal:
        assert list(journal.replay()) == [b"a", b"b"]


async def _written(folder: Path, *records: bytes) -> Path:
    async with FileJournal(folder=folder) as journal:
        for record in records:
            journal.append(record)
    return folder / "usage-000001.journal"


async def test_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    file = await _written(tmp_path / "data", b"a")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("cut", [1, 2, 7, 12])
async def test_a_torn_last_record_is_left_out(tmp_path: Path, cut: int) -> None:
    file = await _written(tmp_path, b"first", b"second")
    os.truncate(file, file.stat().st_size - cut)
    async with FileJournal(folder=tmp_path) as journal:
        assert list(journal.replay()) == [b"first"]


@pytest.mark.parametrize("place", [0, 8, 9, 12])
async def test_a_damaged_record_is_said_and_left_out(
    tmp_path: Path, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    file = await _written(tmp_path, b"first", b"second", b"third")
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    async with FileJournal(folder=tmp_path) as journal:
        assert list(journal.replay()) == [b"second", b"third"]
    assert "line 1 " in caplog.text


async def test_other_files_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "usage-000001.journal.bak"
    other.write_text("mine")
    async with FileJournal(folder=tmp_path) as journal:
        journal.append(b"a")
        journal.drop(journal.rotate())
    assert other.read_text() == "mine"


async def test_half_a_record_of_a_full_disk_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    async with FileJournal(folder=tmp_path) as journal:
        journal.append(b"first")
        # No disk can be filled in a test; a write that takes a part is what one looks like.
        monkeypatch.setattr(os, "write", lambda file, line: write(file, line[:5]))
        with pytest.raises(UnavailableError) as refused:
            journal.append(b"second")
        monkeypatch.undo()
        journal.append(b"third")
    assert refused.value.code == "journal_unavailable"
    async with FileJournal(folder=tmp_path) as journal:
        assert list(journal.replay()) == [b"first", b"third"]


async def test_half_a_new_segment_leaves_the_present_one_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(file: int) -> None:
        raise OSError(errno.EIO, "broken")

    async with FileJournal(folder=tmp_path, sync=True) as journal:
        journal.append(b"first")
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(UnavailableError):
            journal.rotate()
        monkeypatch.undo()
        journal.append(b"second")
        journal.rotate()
        assert list(journal.replay()) == [b"first", b"second"]


async def test_a_segment_that_cannot_be_removed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def read_only(path: Path, *, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "read-only")

    async with FileJournal(folder=tmp_path) as journal:
        journal.append(b"first")
        monkeypatch.setattr(Path, "unlink", read_only)
        journal.drop(journal.rotate())
        assert list(journal.replay()) == [b"first"]
    assert "read-only" in caplog.text


async def test_a_segment_that_cannot_be_read_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "usage-000001.journal").mkdir()
    async with FileJournal(folder=tmp_path) as journal:
        assert list(journal.replay()) == []
        journal.drop(journal.rotate())
    assert (tmp_path / "usage-000001.journal.unreadable").is_dir()
    assert "cannot be read" in caplog.text


async def test_a_segment_is_read_in_little_memory(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with (folder / "usage-000001.journal").open("wb") as file:
        file.truncate(256 * 1024 * 1024)  # zeros, as a power cut leaves them
        file.seek(0, os.SEEK_END)
        file.write(b"\n%08x last\n" % crc32(b"last"))
    async with FileJournal(folder=folder) as journal:
        tracemalloc.start()
        try:
            assert list(journal.replay()) == [b"last"]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 64 * 1024 * 1024


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(UnavailableError):
        await FileJournal(folder=tmp_path / "data" / "in").__aenter__()


async def test_a_kill_loses_no_acknowledged_record(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    for _ in range(KILLS):
        first = acknowledged[-1] + 1_000 if acknowledged else 0
        acknowledged += await asyncio.to_thread(_append_until_killed, tmp_path, first)
    async with FileJournal(folder=tmp_path) as journal:
        kept = [int(record) for record in journal.replay()]
    assert set(acknowledged) <= set(kept)
    assert kept == sorted(set(kept))


def _append_until_killed(folder: Path, first: int) -> list[int]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contracts.journal_writer", str(folder), str(first)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")},
    ) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(random.randint(1, 60))]
        writer.kill()
        lines += writer.stdout.readlines()
    return [int(line) for line in lines if line.endswith(b"\n")]
