"""What OpenAPI says is what the hub does, for any input that a generator can think of."""

import asyncio
import copy
import itertools
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from agenthub.adapters.inbound.http.app import build_app
from tests.integration.http.people import elicit, hold, wish
from tests.integration.http.world import SERVERS, TOKEN, Served, bearer, served
from tests.support.receiver import Receiver, receiving

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
TIMEOUT_S = 10
POLICIES = "/api/policies"
FEW, MANY = 15, 20


Make = Callable[[Served], Awaitable[str]]


class Background:
    """A served hub with a loop of its own, in a thread: the fuzzer is not asynchronous."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._hub: Served | None = None
        self.url = ""
        self.known: dict[str, str] = {}

    def __enter__(self) -> "Background":
        self._thread.start()
        assert self._ready.wait(20)
        assert self.url, "the hub did not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._over is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def run(self, make: Make) -> str:
        """Have something made in the hub's own loop; gives its id."""
        assert self._loop is not None
        hub = self._hub
        assert hub is not None

        async def made() -> str:
            return await make(hub)

        return asyncio.run_coroutine_threadsafe(made(), self._loop).result(TIMEOUT_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        async with receiving() as receiver, served(self._folder) as hub:
            self.known = {**await furnish(hub), **await aim(hub, receiver)}
            self._loop = asyncio.get_running_loop()
            self._hub = hub
            self._over = asyncio.Event()
            self.url = hub.url
            self._ready.set()
            await self._over.wait()


async def furnish(hub: Served) -> dict[str, str]:
    """Make things that the fuzzer can find: some to use, some (`clay`) to be changed."""
    demo, clay = await hub.register("demo"), await hub.register("clay")
    # It offers as little as every address that the fuzzer thinks of, so they can join it.
    bare = {"name": "bare", "transport": {"type": "sse", "url": "http://127.0.0.1:9/sse"}}
    joinable = await hub.http.post(SERVERS, json=bare)
    group = await hub.http.post("/api/groups", json={"slug": "team", "members": []})
    key = await hub.key("hub:read")
    budgets = (await hub.http.get("/api/budgets")).json()["items"]
    return {
        "budget_id": budgets[0]["id"],
        "demo": demo["id"],
        "clay": clay["id"],
        "bare": joinable.json()["id"],
        "slug": group.json()["id"],
        "key": key["id"],
        "tool": "add_numbers",
        "name": "greet",
    }


async def add_policy(hub: Served) -> str:
    """Make an approval policy that fits no call."""
    body = {"name": "fuzz", "action": "allow", "server": "nobody"}
    return (await hub.http.post(POLICIES, json=body)).json()["id"]


async def drop_policies(hub: Served) -> str:
    """Revoke all approval policies; those of the fuzzer would hold others' calls back."""
    while found := (await hub.http.get(POLICIES)).json()["items"]:
        for one in found:
            await hub.http.delete(f"{POLICIES}/{one['id']}")
    return ""


async def aim(hub: Served, receiver: Receiver) -> dict[str, str]:
    """Make targets of notifications: one to use, one to be changed."""
    made: dict[str, str] = {}
    for name in ("demo", "clay"):
        body = {"name": name, "kind": "webhook", "address": receiver.url}
        made[f"{name}-target"] = (await hub.http.post("/api/notifications", json=body)).json()["id"]
    return made


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    with Background(tmp_path_factory.mktemp("fuzz")) as background:
        yield background


DESCRIPTION = build_app(cast("Any", None)).openapi()
ENDLESS = ("GET", "/api/events")
"""Read by test_events.py."""
UNGUESSED = {
    ("POST", "/api/budgets"),
    ("POST", "/api/mcp/servers/{id}/definitions/{tool}/accept"),
    ("POST", "/api/elicitation/requests/{id}/respond"),
    ("POST", "/api/sampling/requests/{id}/deliver"),
    ("GET", "/api/tickets/{ticket}"),
}
"""What a generator seldom finds; the tests of budgets, definitions and people know it."""
OF_PEOPLE: dict[str, Make] = {
    "/api/approvals/": hold,
    "/api/elicitation/": elicit,
    "/api/policies/": add_policy,
    "/api/sampling/requests/": wish,
}
"""What can be decided once only is made anew for each case."""
HUB_POLICY = "/api/gateway/policy"
TRIAL = "/api/notifications/{id}/test"
OPERATIONS = [
    (method.upper(), path)
    for path, operations in DESCRIPTION["paths"].items()
    for method in operations
    if (method.upper(), path) != ENDLESS
]
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION)
operations = pytest.mark.parametrize(("method", "path"), OPERATIONS)


def fuzz(
    hub: Background, method: str, path: str, examples: int, schema: Any = SCHEMA
) -> Counter[int]:
    """Send generated requests to one operation, every other one to things that are there."""
    turns = itertools.cycle((False, True))
    strategy = schema[path][method].as_strategy()
    seen: Counter[int] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples < MANY,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(case=strategy)
    def examine(case: schemathesis.Case) -> None:
        if next(turns) and method != "DELETE":
            case.path_parameters.update(existing(hub, case))
        answer = case.call(base_url=hub.url, headers=bearer(TOKEN), timeout=TIMEOUT_S)
        seen[answer.status_code] += 1
        # Trying a target tells by a 502 that it did not take the notice.
        is_trial = path == TRIAL and answer.status_code == HTTPStatus.BAD_GATEWAY
        case.validate_response(answer, checks=CHECKS[1:] if is_trial else CHECKS)

    try:
        examine()
    finally:
        if path == HUB_POLICY:  # a limit of the hub's would hold for what is tried next
            httpx2.delete(f"{hub.url}{HUB_POLICY}", headers=bearer(TOKEN), timeout=TIMEOUT_S)
        if path.startswith(POLICIES):
            hub.run(drop_policies)
    return seen


def existing(hub: Background, case: schemathesis.Case) -> dict[str, str]:
    """Name things that are there, for the parameters in a case's path."""
    # What is changed, or shut off, is not what others call.
    is_changed = case.method == "PATCH" or "/gateway/" in case.path
    one = "clay" if is_changed else "demo"
    if case.method == "POST" and case.path.endswith("/instances"):
        one = "bare"
    place = {**hub.known, "id": hub.known["key" if "/keys/" in case.path else one]}
    if "/notifications/" in case.path:
        place["id"] = hub.known[f"{one}-target"]
    place["instance"] = hub.known[one]  # a server's own address
    for path, make in OF_PEOPLE.items():
        if case.path.startswith(path):
            place["id"] = hub.run(make)
    return {name: place[name] for name in case.path_parameters if name in place}


@operations
def test_every_answer_is_described(hub: Background, method: str, path: str) -> None:
    seen = fuzz(hub, method, path, examples=FEW)
    is_exempt = method == "DELETE" or (method, path) in UNGUESSED
    assert is_exempt or any(status < 300 for status in seen), seen


@pytest.mark.slow
@pytest.mark.timeout(300)
@operations
def test_every_answer_is_described_at_length(hub: Background, method: str, path: str) -> None:
    fuzz(hub, method, path, examples=MANY)


def test_an_answer_that_is_not_described_is_found(hub: Background) -> None:
    planted = copy.deepcopy(DESCRIPTION)
    del planted["paths"]["/api/keys/{id}"]["get"]["responses"]["404"]
    with pytest.raises(FailureGroup, match="Undocumented status code"):
        fuzz(hub, "GET", "/api/keys/{id}", FEW, schemathesis.openapi.from_dict(planted))
