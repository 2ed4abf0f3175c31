"""The data folder: who may read it, the owner token, where the running hub is found."""

import fcntl
import json
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

CONFIG_FILE = "agenthub.toml"
TOKEN_FILE = "owner-token"  # noqa: S105  a file's name
ADDRESS_FILE = "hub.json"
LOCK_FILE = "lock"
DEMO_MARK = "demo-registered"
DEFAULT_ADDRESS = "http://127.0.0.1:8000"


def prepare(folder: Path) -> None:
    """Make the folder, closed to other users. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600, whole or not at all."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)


def owner_token(folder: Path, given: str | None) -> str:
    """Give the owner token; make and keep one at the first start."""
    if given is not None:
        return given
    path = folder / TOKEN_FILE
    if not path.exists():
        write_private(path, f"aho_{secrets.token_urlsafe(32)}\n")
    return path.read_text("utf-8").strip()


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold the folder for one hub; the system lets go when the process ends, however it ends.

    Raises FolderInUseError.
    """
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderInUseError(folder) from error
        yield


class FolderInUseError(Exception):
    """Another hub runs on this data folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"A hub already uses the data folder {folder}: {read_address(folder)}. "
            "Stop it, or choose another folder with --data-dir."
        )


def forget_address(folder: Path) -> None:
    """Take back what `write_address` left."""
    (folder / ADDRESS_FILE).unlink(missing_ok=True)


def write_address(folder: Path, address: str) -> None:
    """Leave the running hub's address for the command line."""
    write_private(folder / ADDRESS_FILE, json.dumps({"address": address}) + "\n")


def read_address(folder: Path) -> str:
    """Give the address of the hub that uses this folder, or the default one."""
    try:
        return str(json.loads((folder / ADDRESS_FILE).read_text("utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return DEFAULT_ADDRESS
