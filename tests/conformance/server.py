"""The suite's server scenarios, against any endpoint or against the hub and its fixture.

    python -m tests.conformance.server --requirements 2026-07-28
    python -m tests.conformance.server --requirements 2026-07-28 --url http://127.0.0.1:3101/mcp

Without `--url` it starts the fixture and a hub in front of it, runs the suite against both, and
fails if a check that passes against the fixture does not pass through the hub.
"""

import argparse
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.suite import REVISIONS, SuiteRun, run_server_scenarios, scored
from tests.support.fixture_process import FixtureProcess
from tests.support.hub_process import HubProcess

FIXTURE = "conformance_server"
SERVER = "ev"
ENDPOINT = f"/servers/{SERVER}/mcp"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same revision, directly and through the hub."""

    revision: str
    direct: SuiteRun
    through: SuiteRun

    def lost(self, allowed: Mapping[str, str] | None = None) -> dict[str, str]:
        """What passes directly and not through the hub: `scenario:check` and the suite's words.

        Every scenario counts, scored or not, that is clean directly; `allowed` names the scenarios
        that may differ, with the reason.
        """
        found: dict[str, str] = {}
        for scenario, direct in self.direct.outcomes.items():
            if not direct.is_clean or scenario in (allowed or {}):
                continue
            through = self.through.outcomes.get(scenario)
            if through is None or not through.passed:
                found[scenario] = "not one check passed"
                continue
            for check, said in through.missed.items():
                found[f"{scenario}:{check}"] = said
        return found


def failing_scored(run: SuiteRun, revision: str) -> dict[str, dict[str, str]]:
    """The required scenarios that did not run cleanly, with what they missed."""
    failing: dict[str, dict[str, str]] = {}
    for scenario in scored(revision, "server"):
        outcome = run.outcomes.get(scenario)
        if outcome is None or not outcome.is_clean:
            failing[scenario] = dict(outcome.missed) if outcome else {"": "did not run"}
    return failing


@contextmanager
def hub_with_fixture(work: Path) -> Generator[tuple[HubProcess, FixtureProcess]]:
    """A hub whose only server is the conformance fixture."""
    with (
        FixtureProcess(FIXTURE, log_dir=work) as fixture,
        HubProcess(work / "hub") as hub,
    ):
        hub.register_http(SERVER, fixture.url)
        yield hub, fixture


def compare(hub: HubProcess, fixture: FixtureProcess, revision: str, work: Path) -> Comparison:
    direct = run_server_scenarios(fixture.url, revision, work / f"direct-{revision}")
    through = run_server_scenarios(
        hub.url(ENDPOINT),
        revision,
        work / f"hub-{revision}",
        authorization=hub.headers["Authorization"],
    )
    return Comparison(revision, direct, through)


def summary(run: SuiteRun) -> str:
    """The suite's own summary, without the running commentary before it."""
    return run.output[run.output.find("=== SUMMARY ===") :]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requirements", choices=REVISIONS, required=True)
    parser.add_argument("--url", help="an MCP endpoint; without it: the fixture through the hub")
    parser.add_argument("--authorization", help="value of the Authorization header")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if chosen.url:
            run = run_server_scenarios(
                chosen.url, chosen.requirements, work, authorization=chosen.authorization
            )
            sys.stdout.write(summary(run))
            return run.exit_code
        with hub_with_fixture(work) as (hub, fixture):
            comparison = compare(hub, fixture, chosen.requirements, work)
        sys.stdout.write(summary(comparison.through))
        lost = comparison.lost()
        for check, said in lost.items():
            sys.stdout.write(f"LOST {check}: {said}\n")
        return 1 if lost or comparison.through.exit_code else 0


if __name__ == "__main__":
    sys.exit(main())
