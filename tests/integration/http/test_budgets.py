"""Budgets over REST: made, looked at, changed, removed; what is wrong is named."""

from typing import Any

import pytest

from tests.integration.http.world import Served, bearer

BUDGETS = "/api/budgets"
LIMIT = {"limit_usd": "12.5"}


async def _make(hub: Served, **body: Any) -> dict[str, Any]:
    answer = await hub.http.post(BUDGETS, json={"scope": "hub", "period": "day", **LIMIT, **body})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{BUDGETS}/{answer.json()['id']}"
    return answer.json()


async def _ids(hub: Served, **headers: Any) -> list[str]:
    answer = await hub.http.get(BUDGETS, **headers)
    assert answer.status_code == 200, answer.text
    return [budget["id"] for budget in answer.json()["items"]]


async def test_the_first_start_makes_a_monthly_budget(hub: Served) -> None:
    [first] = (await hub.http.get(BUDGETS)).json()["items"]
    assert (first["scope"], first["limit_usd"], first["period"]) == ("hub", "100.00", "month")
    assert (first["hard_stop"], first["alerts"]) == (False, [50, 80, 100])
    assert (await hub.http.delete(f"{BUDGETS}/{first['id']}")).status_code == 204
    assert await _ids(hub) == []


async def test_a_budget_shows_its_money_twice_and_its_period(hub: Served) -> None:
    made = await _make(hub, hard_stop=True, alerts=[90, 10])
    assert (await hub.http.get(f"{BUDGETS}/{made['id']}")).json() == made
    shown = {name: made[name] for name in made if name.endswith(("_usd",))}
    assert shown == {
        "limit_nano_usd": 12_500_000_000,
        "limit_usd": "12.50",
        "spent_nano_usd": 0,
        "spent_usd": "0.00",
        "reserved_nano_usd": 0,
        "reserved_usd": "0.00",
        "remaining_nano_usd": 12_500_000_000,
        "remaining_usd": "12.50",
    }
    assert made["alerts"] == [10, 90]
    assert made["period_start"].endswith("T00:00:00Z")
    assert made["period_end"] > made["period_start"]
    total = await _make(hub, period="total")
    assert total["period_end"] is None


async def test_a_subject_is_named_as_people_do_and_shown_readable(hub: Served) -> None:
    server = await hub.register("time")
    group = (
        await hub.http.post("/api/groups", json={"slug": "dev", "members": [{"server": "time"}]})
    ).json()
    key = await hub.key("hub:read")
    for scope, given, shown, subject_id in (
        ("server", "time", "time", server["id"]),
        ("group", group["id"], "dev", group["id"]),
        ("key", key["id"], key["id"], key["id"]),
        ("key", "owner", "owner", "owner"),
    ):
        made = await _make(hub, scope=scope, subject=given)
        assert (made["subject"], made["subject_id"]) == (shown, subject_id)


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"limit_usd": "-1"}, "limit_usd"),
        ({"limit_usd": "NaN"}, "limit_usd"),
        ({"limit_usd": "1e3"}, "limit_usd"),
        ({"limit_usd": 5}, "limit_usd"),
        ({"limit_usd": "0"}, "limit_usd"),
        ({"limit_usd": "999999999"}, "limit_usd"),
        ({"limit_usd": None}, "limit_usd"),
        ({"limit_usd": None, "limit_nano_usd": 0}, "limit_nano_usd"),
        ({"limit_usd": None, "limit_nano_usd": -5}, "limit_nano_usd"),
        ({"limit_usd": None, "limit_nano_usd": 10**30}, "limit_nano_usd"),
        ({"limit_usd": None, "limit_nano_usd": 1.5}, "limit_nano_usd"),
        ({"limit_usd": None, "limit_nano_usd": True}, "limit_nano_usd"),
        ({"limit_nano_usd": 5}, "limit_usd"),
        ({"scope": "planet"}, "scope"),
        ({"subject": "x"}, "subject"),
        ({"scope": "key"}, "subject"),
        ({"scope": "key", "subject": "nobody"}, "subject"),
        ({"scope": "group", "subject": "nobody"}, "subject"),
        ({"scope": "server", "subject": "nobody"}, "subject"),
        ({"period": "week"}, "period"),
        ({"alerts": [0]}, "alerts"),
        ({"alerts": [50, 50]}, "alerts"),
        ({"alerts": [True]}, "alerts"),
        ({"hard_stop": "yes"}, "hard_stop"),
        ({"ends_at": "2020-01-01T00:00:00Z"}, "ends_at"),
        ({"ends_at": "tomorrow"}, "ends_at"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_what_is_wrong_is_named_and_changes_nothing(
    hub: Served, change: dict[str, Any], loc: str
) -> None:
    before = await _ids(hub)
    body = {"scope": "hub", "period": "day", **LIMIT, **change}
    answer = await hub.http.post(BUDGETS, json=body)
    assert answer.status_code == 422, answer.text
    assert loc in {error["loc"][0] for error in answer.json()["errors"]}
    assert await _ids(hub) == before


async def test_a_second_budget_of_the_same_kind_is_a_conflict(hub: Served) -> None:
    await _make(hub)
    answer = await hub.http.post(BUDGETS, json={"scope": "hub", "period": "day", **LIMIT})
    assert (answer.status_code, answer.json()["code"]) == (409, "budget_taken")


async def test_a_change_leaves_the_rest_as_it_is(hub: Served) -> None:
    made = await _make(hub)
    place = f"{BUDGETS}/{made['id']}"
    changed = await hub.http.patch(place, json={"limit_nano_usd": 7, "hard_stop": True})
    assert changed.status_code == 200, changed.text
    assert changed.json() == {
        **made,
        "limit_nano_usd": 7,
        "limit_usd": "0.000000007",
        "remaining_nano_usd": 7,
        "remaining_usd": "0.000000007",
        "hard_stop": True,
        "updated_at": changed.json()["updated_at"],
    }
    for wrong in ({"limit_usd": "-1"}, {"ends_at": "2020-01-01T00:00:00Z"}, {"period": "month"}):
        assert (await hub.http.patch(place, json=wrong)).status_code == 422
    assert (await hub.http.get(place)).json() == changed.json()


async def test_null_takes_the_end_away_and_leaves_all_else(hub: Served) -> None:
    made = await _make(hub)
    place = f"{BUDGETS}/{made['id']}"
    ends_at = "2999-01-01T00:00:00Z"
    assert (await hub.http.patch(place, json={"ends_at": ends_at})).json()["ends_at"] == ends_at
    rest = {"limit_usd": None, "limit_nano_usd": None, "hard_stop": None, "alerts": None}
    assert (await hub.http.patch(place, json=rest)).json()["ends_at"] == ends_at
    changed = (await hub.http.patch(place, json={**rest, "ends_at": None})).json()
    assert changed == {**made, "updated_at": changed["updated_at"]}


async def test_an_unknown_budget_is_not_found(hub: Served) -> None:
    place = f"{BUDGETS}/nobody"
    for answer in (
        await hub.http.get(place),
        await hub.http.patch(place, json={}),
        await hub.http.delete(place),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "budget_not_found")


async def test_who_may_only_look_changes_nothing(hub: Served) -> None:
    made = await _make(hub)
    reader = bearer((await hub.key("hub:read"))["secret"])
    caller = bearer((await hub.key("tools:call"))["secret"])
    assert made["id"] in await _ids(hub, headers=reader)
    assert (await hub.http.get(BUDGETS, headers=caller)).status_code == 403
    body = {"scope": "hub", "period": "total", **LIMIT}
    assert (await hub.http.post(BUDGETS, json=body, headers=reader)).status_code == 403
    place = f"{BUDGETS}/{made['id']}"
    assert (await hub.http.delete(place, headers=reader)).status_code == 403


async def test_a_key_of_a_group_sees_its_own_budgets_and_changes_none(hub: Served) -> None:
    await hub.register("time")
    await hub.http.post("/api/groups", json={"slug": "dev", "members": [{"server": "time"}]})
    key = await hub.key("hub:read", "hub:write", group="dev")
    other = await hub.key("hub:read")
    own = [
        (await _make(hub, scope="key", subject=key["id"]))["id"],
        (await _make(hub, scope="group", subject="dev"))["id"],
    ]
    hidden = (await _make(hub, scope="key", subject=other["id"]))["id"]
    mine = bearer(key["secret"])
    assert await _ids(hub, headers=mine) == own
    assert (await hub.http.get(f"{BUDGETS}/{hidden}", headers=mine)).status_code == 404
    for answer in (
        await hub.http.delete(f"{BUDGETS}/{own[0]}", headers=mine),
        await hub.http.patch(f"{BUDGETS}/{own[0]}", json=LIMIT, headers=mine),
        await hub.http.post(BUDGETS, json={"scope": "hub", **LIMIT}, headers=mine),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "group_bound")
