"""`kill -9` at every commit in a sampling's life: the model is asked once, and paid for once."""

import sqlite3
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.registrar import UNHEARD
from tests.support.fixture_process import FixtureProcess
from tests.support.forked_hub import ForkedHub
from tests.support.hub_process import HubConnection
from tests.support.llm_provider import WORDS, LlmProvider
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.e2e, pytest.mark.slow]

POINTS = 14
"""Before and after each of seven commits, from the approval on."""
REQUESTS = "/api/sampling/requests"
SETTLED_WITHIN_S = 20.0


@pytest.fixture
def provider() -> Iterator[LlmProvider]:
    with LlmProvider() as provider:
        yield provider


@pytest.fixture
def death_file(tmp_path: Path) -> Path:
    return tmp_path / "death"


@pytest.fixture
def hub(provider: LlmProvider, death_file: Path, tmp_path: Path) -> Generator[ForkedHub]:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "prices.toml").write_text(provider.prices())
    env = {**provider.settings(), "AGENTHUB_HITL__HOLD_S": "0"}
    era = ("--era", "modern", "--transport", "http")
    with (
        FixtureProcess("asking_server", *era, log_dir=tmp_path) as server,
        ForkedHub(folder, death_file, env) as hub,
    ):
        hub.register_http("asking", server.url)
        yield hub


@pytest.mark.timeout(400)
async def test_a_hub_killed_at_any_commit_of_a_sampling_neither_repeats_nor_loses_it(
    hub: ForkedHub, provider: LlmProvider, death_file: Path
) -> None:
    ends: Counter[str] = Counter()
    former: set[str] = set()
    deaths = 0
    for point in range(1, POINTS + 1):
        ticket, wish = asked(hub, point)
        death_file.write_text(str(point))
        with suppress(*UNHEARD):
            approve(hub, wish)
        died = await has_died_or_ended(hub, wish)
        death_file.unlink()
        deaths += died
        if died:
            assert hub.has_died(5.0)
            hub.start()
        if look(hub, wish)["status"] == "pending":
            approve(hub, wish)
        await eventually(lambda wish=wish: is_over(hub, wish), within_s=SETTLED_WITHIN_S)
        end = look(hub, wish)
        ends[end["status"]] += 1
        assert_paid_once(hub, provider, end, former, point)
        assert_collected(hub, ticket, end, point)
    assert deaths >= POINTS // 2
    assert ends["completed"] > 0, ends
    assert ends["failed"] > 0, ends
    assert max(provider.calls.values()) == 1


def asked(hub: HubConnection, point: int) -> tuple[str, str]:
    """Have a server ask for a model's words; give the call's ticket, and the question's id.

    Each call is another one: an equal one might be taken for the agent of the former, come back.
    """
    arguments = {"arguments": {"point": point}}
    answer = hub.rest("POST", "/api/mcp/servers/asking/tools/ask_model", arguments)
    assert answer.status == 202, answer
    (wish,) = hub.rest("GET", f"{REQUESTS}?status=pending").body["items"]
    return answer.body["ticket"], wish["id"]


def approve(hub: HubConnection, wish: str) -> None:
    answer = hub.rest("POST", f"{REQUESTS}/{wish}/approve", {})
    assert answer.status == 200, answer


def look(hub: HubConnection, wish: str) -> dict[str, Any]:
    return hub.rest("GET", f"{REQUESTS}/{wish}").body


def is_over(hub: HubConnection, wish: str) -> bool:
    return look(hub, wish)["status"] in ("completed", "failed")


async def has_died_or_ended(hub: HubConnection, wish: str) -> bool:
    """Wait until the hub is dead, or the question is over without that."""

    def seen() -> str | None:
        try:
            return "over" if is_over(hub, wish) else None
        except UNHEARD:
            return "dead"

    return await eventually(seen, within_s=SETTLED_WITHIN_S) == "dead"


def assert_paid_once(
    hub: ForkedHub, provider: LlmProvider, wish: dict[str, Any], former: set[str], point: int
) -> None:
    """`former` are the entries of earlier calls; this one's is added."""
    with closing(sqlite3.connect(hub.data_dir / "agenthub.db")) as database:
        found = database.execute(
            "SELECT id, status, cost_nano_usd FROM ledger_entries WHERE purpose = 'sampling'"
        ).fetchall()
    rows = [row for row in found if row[0] not in former]
    bills = {one: bill for one, bill in provider.bills.items() if one not in former}
    assert len(rows) <= 1, (point, rows)
    assert set(bills) <= {row[0] for row in rows}, (point, rows)
    former |= {row[0] for row in rows}
    for entry_id, status, cost in rows:
        nano_usd = bills[entry_id].nano_usd if bills else 0
        if wish["status"] == "completed":
            assert (status, cost, wish["cost_nano_usd"]) == ("ok", nano_usd, nano_usd), point
        else:
            assert status in ("ok", "estimated", "aborted"), point
            assert cost >= nano_usd, point


def assert_collected(hub: HubConnection, ticket: str, wish: dict[str, Any], point: int) -> None:
    answer = hub.rest("GET", f"/api/tickets/{ticket}?wait_s=10")
    words = str(answer.body)
    if wish["status"] == "completed":
        assert ("".join(WORDS) in words) or "call_interrupted" in words, (point, answer)
    else:
        assert "".join(WORDS) not in words, (point, answer)
