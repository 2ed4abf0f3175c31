"""The fixture is a fair yardstick: everything that the suite scores passes against it directly."""

from pathlib import Path

import pytest

from tests.conformance.server import FIXTURE, failing_scored
from tests.conformance.suite import REVISIONS, run_server_scenarios
from tests.support.fixture_process import FixtureProcess

pytestmark = pytest.mark.node


@pytest.mark.parametrize("revision", REVISIONS)
def test_fixture_passes_every_scored_server_scenario(revision: str, tmp_path: Path) -> None:
    with FixtureProcess(FIXTURE, log_dir=tmp_path) as fixture:
        run = run_server_scenarios(fixture.url, revision, tmp_path / "results")
    assert failing_scored(run, revision) == {}
    assert run.exit_code == 0, run.output
