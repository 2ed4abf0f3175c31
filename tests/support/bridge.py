"""A hub with a server of each era and transport behind it."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.support.child import all_running
from tests.support.fixture_process import FixtureProcess, fixture_command
from tests.support.hub_process import HubProcess

ERAS = ("legacy", "modern")
TRANSPORTS = ("http", "stdio")


@contextmanager
def bridged(hub: HubProcess, module: str, log_dir: Path) -> Generator[HubProcess]:
    """Run the hub with four servers of a fixture, named as in `legacy-http`."""
    by_http = {
        era: FixtureProcess(module, "--era", era, "--transport", "http", log_dir=log_dir)
        for era in ERAS
    }

    def register(server: tuple[str, str]) -> None:
        era, transport = server
        if transport == "http":
            hub.register_http(f"{era}-http", by_http[era].url)
        else:
            command = fixture_command(module, "--era", era, "--transport", "stdio")
            hub.register_stdio(f"{era}-stdio", *command)

    with all_running(hub, *by_http.values()), ThreadPoolExecutor() as pool:
        list(pool.map(register, [(era, transport) for era in ERAS for transport in TRANSPORTS]))
        yield hub
