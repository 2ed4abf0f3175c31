"""Another process that holds the write lock of a SQLite database.

with write_locked(hub.data_dir / "agenthub.db"):
    ...
"""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

RELEASE_TIMEOUT_S = 5.0
_HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
database.execute("ROLLBACK")
"""


@contextmanager
def write_locked(database: Path) -> Generator[None]:
    """Hold the lock from entry to exit; the holder ends with this process at the latest."""
    holder = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _HOLDER, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"locked\n", "the lock was not to be had"
        yield
    finally:
        holder.stdin.close()
        holder.wait(RELEASE_TIMEOUT_S)
        holder.stdout.close()
