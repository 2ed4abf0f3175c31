"""Runs the official conformance suite and reads what it found."""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.support.node import REPOSITORY, node, package_file

PACKAGE = "@modelcontextprotocol/conformance"
REVISIONS = ("2025-11-25", "2026-07-28")
SCENARIO_TIMEOUT_S = 40
CLIENT_TIMEOUT_S = 60
SERVER_TIMEOUT_S = 240
DID_NOT_END = -1
BEARER = Path(__file__).with_name("bearer.mjs")

Leg = Literal["server", "client"]


@dataclass(slots=True)
class Outcome:
    """What one scenario found; a check may be made several times under one id."""

    passed: list[str] = field(default_factory=list[str])
    missed: dict[str, str] = field(default_factory=dict[str, str])
    """Failed checks and warnings, with the suite's words."""

    @property
    def is_clean(self) -> bool:
        return bool(self.passed) and not self.missed


@dataclass(frozen=True, slots=True)
class SuiteRun:
    exit_code: int
    outcomes: Mapping[str, Outcome]
    output: str


def scored(revision: str, leg: Leg) -> list[str]:
    """The scenarios that `revision` requires, from the suite's own frozen list."""
    listed = Path(package_file(PACKAGE, f"requirements/{revision}.yaml")).read_text()
    section = re.search(rf"^{leg}:\n((?:  - .+\n|\n)*)", listed, re.MULTILINE)
    assert section is not None, f"the suite lists no {leg} scenarios for {revision}"
    return re.findall(r"^  - (\S+)$", section[1], re.MULTILINE)


def known_client_scenarios() -> list[str]:
    """Every client scenario the installed suite has, of any revision or extension."""
    listed = _run(["list", "--client"], {}, CLIENT_TIMEOUT_S)
    return re.findall(r"^  - (\S+)", listed.stdout, re.MULTILINE)


def run_server_scenarios(
    url: str, revision: str, results: Path, *, authorization: str | None = None
) -> SuiteRun:
    """Every server scenario of `revision` against the MCP endpoint at `url`."""
    command = ["server", "--url", url, "--requirements", revision]
    env = {"CONFORMANCE_AUTHORIZATION": authorization} if authorization else {}
    return _collect([*command, "-o", str(results)], env, results, "server")


def run_client_scenario(
    scenario: str, revision: str, client: Sequence[str], results: Path, env: Mapping[str, str]
) -> SuiteRun:
    """One client scenario; the suite starts `client` with its own server's URL as last argument."""
    command = ["client", "--scenario", scenario, "--spec-version", revision]
    return _collect(
        [*command, "--command", " ".join(client), "-o", str(results)], env, results, "client"
    )


def _collect(command: list[str], env: Mapping[str, str], results: Path, leg: Leg) -> SuiteRun:
    timed = [*command, "--timeout", str(SCENARIO_TIMEOUT_S * 1000)]
    done = _run(timed, env, SERVER_TIMEOUT_S if leg == "server" else CLIENT_TIMEOUT_S)
    outcomes = {_scenario(found, leg): _outcome(found) for found in results.glob("*/checks.json")}
    return SuiteRun(done.returncode, outcomes, done.stdout + done.stderr)


def _run(
    command: list[str], env: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """A run that does not end (a connection to the suite's server stays open) is ended."""
    suite = package_file(PACKAGE, "dist/index.js")
    whole = [node(), "--import", BEARER.as_uri(), suite, *command]
    try:
        return subprocess.run(
            whole,
            env={**os.environ, **env},
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        said = f"{_text(expired.stdout)}{_text(expired.stderr)}\ndid not end within {timeout_s} s"
        return subprocess.CompletedProcess(whole, DID_NOT_END, said, "")


def _text(output: bytes | str | None) -> str:
    """`TimeoutExpired` holds bytes, whatever was asked for."""
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def _scenario(checks: Path, leg: Leg) -> str:
    """The folder's name without the suite's mark of the leg in front and the time behind."""
    folder = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", checks.parent.name)
    return folder.removeprefix("server-") if leg == "server" else folder


def _outcome(checks: Path) -> Outcome:
    outcome = Outcome()
    for check in json.loads(checks.read_text()):
        if check["status"] == "SUCCESS":
            outcome.passed.append(check["id"])
        elif check["status"] in ("FAILURE", "WARNING"):
            said = check.get("errorMessage") or check["description"]
            outcome.missed[check["id"]] = f"{check['status']}: {said}"
    return outcome
