"""The MCP Inspector's command line: one process per request, as a person would use it."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.node import node, package_file

LAUNCHER = "clients/launcher/build/index.js"
TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """`exit_code` is 5 for a tool's own error; `result` is None where no result came at all."""

    exit_code: int
    result: dict[str, Any] | None
    errors: str

    @property
    def text(self) -> str:
        return json.dumps(self.result, ensure_ascii=False)


class Inspector:
    """Asks the endpoint at `url` in one era; keeps its files in `home`."""

    def __init__(self, url: str, era: str, headers: Mapping[str, str], home: Path) -> None:
        launcher = package_file("@modelcontextprotocol/inspector", LAUNCHER)
        self._command = [node(), launcher, "--cli", url, "--protocol-era", era]
        self._command += ["--format", "json", "--quiet", "--stored-auth-only"]
        for name, value in headers.items():
            self._command += ["--header", f"{name}: {value}"]
        self._env = {"PATH": os.defpath, "HOME": str(home)}

    def ask(self, method: str, *options: str) -> Answer:
        done = subprocess.run(
            [*self._command, "--method", method, *options],
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        result = json.loads(done.stdout) if done.stdout.strip() else None
        return Answer(done.returncode, result, done.stderr)

    def call_tool(self, name: str, arguments: Mapping[str, Any]) -> Answer:
        spelled = json.dumps(dict(arguments))
        return self.ask("tools/call", "--tool-name", name, "--tool-args-json", spelled)

    def read(self, uri: str) -> Answer:
        return self.ask("resources/read", "--uri", uri)

    def prompt(self, name: str, arguments: Mapping[str, str]) -> Answer:
        pairs = [f"{key}={value}" for key, value in arguments.items()]
        given: Sequence[str] = ["--prompt-args", *pairs] if pairs else []
        return self.ask("prompts/get", "--prompt-name", name, *given)
