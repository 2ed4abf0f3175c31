"""Through the hub, a server conforms as it does directly."""

from collections.abc import Iterator

import pytest

from tests.conformance.server import Comparison, compare, failing_scored, hub_with_fixture
from tests.conformance.suite import REVISIONS
from tests.support.fixture_process import FixtureProcess
from tests.support.hub_process import HubProcess

pytestmark = [pytest.mark.node, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

Pair = tuple[HubProcess, FixtureProcess]

MAY_DIFFER = {
    "server-sse-polling": "Not scored. The hub itself resumes a stream that its server cut, so the"
    " agent's stream stays whole and there is nothing to poll.",
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with hub_with_fixture(tmp_path_factory.mktemp("conformance")) as pair:
        yield pair


@pytest.fixture(scope="module", params=REVISIONS)
def comparison(
    request: pytest.FixtureRequest, pair: Pair, tmp_path_factory: pytest.TempPathFactory
) -> Comparison:
    hub, fixture = pair
    revision: str = request.param
    return compare(hub, fixture, revision, tmp_path_factory.mktemp("results"))


def test_every_scored_server_scenario_passes_through_the_hub(comparison: Comparison) -> None:
    assert failing_scored(comparison.through, comparison.revision) == {}
    assert comparison.through.exit_code == 0, comparison.through.output


def test_nothing_that_passes_directly_is_lost_through_the_hub(comparison: Comparison) -> None:
    assert comparison.lost(MAY_DIFFER) == {}
