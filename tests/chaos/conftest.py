"""A hub whose calls time out soon, so that a hanging server costs seconds and not minutes."""

import os
from collections.abc import Callable, Generator

import pytest

from tests.support.hub_process import HubProcess

CALL_TIMEOUT_S = 3.0


@pytest.fixture(scope="module")
def uncounted() -> Generator[None]:
    """Keep coverage out of processes whose time or memory is measured, or that are killed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="module")
def make_hub(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., HubProcess]:
    """Make hubs that are not started yet, each with a data dir of its own."""

    def make(**env: str) -> HubProcess:
        env = {"AGENTHUB_UPSTREAM__CALL_TIMEOUT_S": str(CALL_TIMEOUT_S), **env}
        return HubProcess(tmp_path_factory.mktemp("hub") / "data", env=env)

    return make
