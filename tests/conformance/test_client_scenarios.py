"""The hub conforms as a client of its servers."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.driver import HUB_TOKEN, HUB_URL, PLAYS
from tests.conformance.scenarios import IN_SCOPE, OUT_OF_SCOPE, is_out_of_scope
from tests.conformance.suite import (
    REVISIONS,
    known_client_scenarios,
    run_client_scenario,
    scored,
)
from tests.support.hub_process import HubProcess

pytestmark = [pytest.mark.node]

CLIENT = [sys.executable, "-m", "tests.conformance.driver"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with HubProcess(tmp_path_factory.mktemp("hub") / "data") as hub:
        yield hub


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("revision", "scenario"),
    [(revision, scenario) for revision in REVISIONS for scenario in IN_SCOPE[revision]],
)
def test_hub_passes_as_client(
    revision: str, scenario: str, hub: HubProcess, tmp_path: Path
) -> None:
    env = {HUB_URL: hub.url(), HUB_TOKEN: hub.token}
    run = run_client_scenario(scenario, revision, CLIENT, tmp_path / "results", env)
    assert run.outcomes[scenario].missed == {}, run.output
    assert run.outcomes[scenario].passed, run.output
    assert run.exit_code == 0, run.output


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_scored_client_scenario_is_played_or_ruled_out(revision: str) -> None:
    forgotten = [
        name
        for name in scored(revision, "client")
        if name not in IN_SCOPE[revision] and not is_out_of_scope(name)
    ]
    assert forgotten == []


def test_every_client_scenario_of_the_suite_is_played_or_ruled_out() -> None:
    known = known_client_scenarios()
    assert {name for name in known if not is_out_of_scope(name)} == PLAYS.keys()
    for beginning in OUT_OF_SCOPE:
        assert any(name.startswith(beginning) for name in known), beginning
