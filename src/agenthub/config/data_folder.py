"""The data folder: who may read it, the owner token, where the running hub is found."""

import json
import os
import secrets
from pathlib import Path

TOKEN_FILE = "owner-token"  # noqa: S105  a file's name
ADDRESS_FILE = "hub.json"
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


def write_address(folder: Path, address: str) -> None:
    """Leave the running hub's address for the command line."""
    write_private(folder / ADDRESS_FILE, json.dumps({"address": address}) + "\n")


def read_address(folder: Path) -> str:
    """Give the address of the hub that uses this folder, or the default one."""
    try:
        return str(json.loads((folder / ADDRESS_FILE).read_text("utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return DEFAULT_ADDRESS
