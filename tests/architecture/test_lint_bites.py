"""Ruff refuses what the house forbids: one planted line per rule."""

import json
import subprocess
import sys
import tomllib

import pytest

from tests.architecture.sources import ROOT

PLANTED = {
    "asyncio.create_task": "import asyncio\n\n\nasync def f(c):\n    asyncio.create_task(c)\n",
    "asyncio.ensure_future": "import asyncio\n\n\ndef f(c):\n    return asyncio.ensure_future(c)\n",
    "asyncio.get_event_loop": "import asyncio\n\nprint(asyncio.get_event_loop())\n",
    "fastapi.HTTPException": "from fastapi import HTTPException\n\nprint(HTTPException)\n",
    "starlette.exceptions.HTTPException": "from starlette.exceptions import HTTPException\n",
    "datetime.datetime.now": "import datetime\n\nprint(datetime.datetime.now(datetime.UTC))\n",
    "datetime.datetime.utcnow": "import datetime\n\nprint(datetime.datetime.utcnow())\n",
    "time.time": "from time import time\n\nprint(time())\n",
    "uuid.uuid4": "import uuid\n\nprint(uuid.uuid4())\n",
    "importlib.import_module": "import importlib\n\nprint(importlib.import_module('os'))\n",
    "typing.TYPE_CHECKING": "from typing import TYPE_CHECKING\n\nprint(TYPE_CHECKING)\n",
}
BRANCHES = "\n".join(f"    if x == {n}:\n        x += 1" for n in range(14))
STATEMENTS = "\n".join(f"    print({n})" for n in range(55))
RULES = {
    "BLE001": "try:\n    print()\nexcept Exception:\n    print()\n",
    "S110": "try:\n    print()\nexcept Exception:\n    pass\n",
    "ASYNC230": "async def f():\n    with open('x') as file:\n        return file.read()\n",
    "DTZ001": "import datetime\n\nprint(datetime.datetime(2026, 1, 1))\n",
    "C901": f"def f(x):\n{BRANCHES}\n",
    "PLR0912": f"def f(x):\n{BRANCHES}\n",
    "PLR0915": f"def f():\n{STATEMENTS}\n",
    "PLC0415": "def f():\n    import os\n\n    return os\n",
    "ERA001": "# print(x)\n",
    "TID252": "from .ids import x\n",
}


def findings(code: str) -> list[tuple[str, str]]:
    ruff = [sys.executable, "-m", "ruff", "check", "--output-format", "json", "--no-cache"]
    done = subprocess.run(
        [*ruff, "--stdin-filename", "src/agenthub/domain/services/planted.py", "-"],
        cwd=ROOT,
        input=code,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return [(found["code"], found["message"]) for found in json.loads(done.stdout)]


def test_every_banned_name_has_a_planted_use() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert set(lint["flake8-tidy-imports"]["banned-api"]) == set(PLANTED)


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_a_banned_name_is_refused(name: str) -> None:
    banned = [text for code, text in findings(PLANTED[name]) if code == "TID251"]
    assert any(f"`{name}`" in text for text in banned)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_broken_rule_is_refused(rule: str) -> None:
    assert rule in [code for code, _ in findings(RULES[rule])]
