"""What OpenAPI says is what the hub does, for any input that a generator can think of."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from agenthub.adapters.inbound.http.app import build_app
from tests.integration.http.world import TOKEN, Served, bearer, served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
TIMEOUT_S = 10


class Background:
    """A served hub with a loop of its own, in a thread: the fuzzer is not asynchronous."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self.url = ""

    def __enter__(self) -> "Background":
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._over is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        async with served(self._folder) as hub:
            await furnish(hub)
            self._loop = asyncio.get_running_loop()
            self._over = asyncio.Event()
            self.url = hub.url
            self._ready.set()
            await self._over.wait()


async def furnish(hub: Served) -> None:
    """Give the fuzzer things that it can find by the names that the schema tells it."""
    await hub.register("demo")
    await hub.http.post("/api/groups", json={"slug": "team", "members": [{"server": "demo"}]})
    await hub.key("hub:read")


@pytest.fixture(scope="module")
def hub_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Background(tmp_path_factory.mktemp("fuzz")) as hub:
        yield hub.url


DESCRIPTION = build_app(cast("Any", None)).openapi()
ENDLESS = ("GET", "/api/events")
"""Read by test_events.py."""
OPERATIONS = [
    (method.upper(), path)
    for path, operations in DESCRIPTION["paths"].items()
    for method in operations
    if (method.upper(), path) != ENDLESS
]
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION)
KNOWN = {"id": "demo", "slug": "team", "tool": "add_numbers", "name": "greet"}
operations = pytest.mark.parametrize(("method", "path"), OPERATIONS)


def fuzz(hub_url: str, method: str, path: str, examples: int) -> None:
    """Send generated requests to one operation, every other one to things that are there."""
    turns = itertools.cycle((False, True))
    strategy = SCHEMA[path][method].as_strategy()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def examine(case: schemathesis.Case) -> None:
        if next(turns) and method != "DELETE":
            case.path_parameters.update(
                {k: v for k, v in KNOWN.items() if k in case.path_parameters}
            )
        sent = {"base_url": hub_url, "headers": bearer(TOKEN), "timeout": TIMEOUT_S}
        case.validate_response(case.call(**sent), checks=CHECKS)

    examine()


@operations
def test_every_answer_is_described(hub_url: str, method: str, path: str) -> None:
    fuzz(hub_url, method, path, examples=25)


@pytest.mark.slow
@pytest.mark.timeout(300)
@operations
def test_every_answer_is_described_at_length(hub_url: str, method: str, path: str) -> None:
    fuzz(hub_url, method, path, examples=300)
