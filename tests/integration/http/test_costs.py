"""What was used and what it cost, over REST."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agenthub.domain.entities.cost import Entry, EntryKind, EntryStatus, Party, Tokens
from agenthub.domain.entities.identity import OWNER
from tests.integration.http.world import Served, bearer
from tests.support.ledger_entries import WRITER, entry
from tests.support.waiting import eventually

SUMMARY = "/api/costs/summary"
ENTRIES = "/api/costs/entries"
MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)


async def _keep(hub: Served, *entries: Entry) -> None:
    async with hub.world.uow.begin(OWNER) as tx:
        await tx.ledger.add(list(entries))
        await tx.commit()


async def _week(hub: Served) -> None:
    """Two tool calls on Monday, and three of models after it, one of them without a price."""
    chat: dict[str, Any] = {"kind": EntryKind.MODEL, "party": WRITER, "tokens": Tokens(prompt=7)}
    await _keep(
        hub,
        entry("1", at=MONDAY),
        entry("2", at=MONDAY, status=EntryStatus.ERROR, error_code="server_timeout"),
        entry("3", at=MONDAY + timedelta(days=1), **chat, cost_nano_usd=1_500_000_000),
        entry("4", at=MONDAY + timedelta(days=1), **chat, cost_nano_usd=1),
        entry("5", at=MONDAY + timedelta(days=2), **chat, cost_nano_usd=None),
    )


async def test_days_are_summed_up_with_a_total(hub: Served) -> None:
    await _week(hub)
    answer = (await hub.http.get(SUMMARY)).json()
    assert (answer["by"], answer["since"], answer["until"]) == ("day", None, None)
    rows = [(r["key"], r["tool_calls"], r["model_calls"], r["cost_usd"]) for r in answer["rows"]]
    assert rows == [
        ("2026-03-02", 2, 0, "0.00"),
        ("2026-03-03", 0, 2, "1.500000001"),
        ("2026-03-04", 0, 1, "0.00"),
    ]
    total = answer["total"]
    assert (total["errors"], total["unpriced"], total["prompt_tokens"]) == (1, 1, 21)
    assert (total["cost_nano_usd"], total["cost_usd"]) == (1_500_000_001, "1.500000001")


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("server", ["", "time"]),
        ("tool", ["", "time/now"]),
        ("model", ["gpt-5.5", ""]),
        ("key", ["K-ann"]),
    ],
)
async def test_a_summary_goes_by_what_is_asked_for(hub: Served, by: str, keys: list[str]) -> None:
    await _week(hub)
    answer = (await hub.http.get(SUMMARY, params={"by": by})).json()
    assert [row["key"] for row in answer["rows"]] == keys


@pytest.mark.parametrize(
    ("window", "days"),
    [
        ({"since": "2026-03-03"}, 2),
        ({"until": "2026-03-03"}, 1),
        ({"since": "2026-03-03", "until": "2026-03-04"}, 1),
        ({"since": "2026-03-03T23:59:00-05:00"}, 1),
        ({"until": "2026-03-03T12:00:00Z"}, 2),
    ],
)
async def test_a_window_is_of_dates_or_moments(
    hub: Served, window: dict[str, str], days: int
) -> None:
    await _week(hub)
    answer = await hub.http.get(SUMMARY, params=window)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["rows"]) == days


@pytest.mark.parametrize(
    "window",
    [
        {"since": "yesterday"},
        {"since": "2026-03-03T10:00:00"},
        {"since": "2026-13-01"},
        {"since": "20260303"},
        {"since": "2026-03-03", "until": "2026-03-03"},
        {"by": "moon"},
    ],
)
async def test_a_window_that_is_none_is_refused(hub: Served, window: dict[str, str]) -> None:
    answer = await hub.http.get(SUMMARY, params=window)
    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_entries_are_paged_from_the_newest(hub: Served) -> None:
    await _week(hub)
    first = (await hub.http.get(ENTRIES, params={"limit": 3})).json()
    rest = (await hub.http.get(ENTRIES, params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [one["id"] for one in first["items"] + rest["items"]] == ["5", "4", "3", "2", "1"]
    assert rest["next_cursor"] is None
    unpriced, _, dear = first["items"]
    assert (unpriced["cost_nano_usd"], unpriced["cost_usd"]) == (None, None)
    assert (dear["cost_nano_usd"], dear["cost_usd"]) == (1_500_000_000, "1.50")
    assert (dear["server"], dear["model"], dear["tokens"]["prompt"]) == (None, "gpt-5.5", 7)


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"kind": "tool"}, ["2", "1"]),
        ({"model": "gpt-5.5", "since": "2026-03-04"}, ["5"]),
        ({"server": "time", "tool": "now", "subject": "K-ann"}, ["2", "1"]),
        ({"subject": "owner"}, []),
        ({"until": "2026-03-03"}, ["2", "1"]),
    ],
)
async def test_entries_are_chosen_by_what_they_are(
    hub: Served, where: dict[str, str], ids: list[str]
) -> None:
    await _week(hub)
    answer = (await hub.http.get(ENTRIES, params=where)).json()
    assert [one["id"] for one in answer["items"]] == ids


async def test_a_key_of_a_group_sees_that_groups_calls_only(hub: Served) -> None:
    await hub.register("time")
    group = (
        await hub.http.post("/api/groups", json={"slug": "dev", "members": [{"server": "time"}]})
    ).json()
    party = Party(subject="K-bob", group=group["id"], server="time", tool="now")
    await _week(hub)
    await _keep(hub, entry("6", at=MONDAY, party=party))
    mine = bearer((await hub.key("hub:read", group="dev"))["secret"])
    entries = (await hub.http.get(ENTRIES, headers=mine)).json()
    summary = (await hub.http.get(SUMMARY, headers=mine)).json()
    assert [one["id"] for one in entries["items"]] == ["6"]
    assert summary["total"]["tool_calls"] == 1


async def test_looking_needs_the_scope(hub: Served) -> None:
    caller = bearer((await hub.key("tools:call"))["secret"])
    for place in (SUMMARY, ENTRIES):
        assert (await hub.http.get(place, headers=caller)).status_code == 403


async def test_a_call_through_the_hub_is_in_its_ledger(hub: Served) -> None:
    await hub.register()
    answer = await hub.http.post("/api/mcp/servers/demo/tools/add_numbers", json={})
    assert answer.status_code == 200, answer.text

    found: list[dict[str, Any]] = []

    async def stored() -> bool:
        found[:] = (await hub.http.get(ENTRIES)).json()["items"]
        return bool(found)

    await eventually(stored)
    [one] = found
    assert (one["kind"], one["status"], one["server"], one["tool"]) == (
        "tool",
        "ok",
        "demo",
        "add_numbers",
    )
