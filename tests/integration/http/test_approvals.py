"""Held tool calls and the policies that hold them, over REST."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from tests.integration.http.people import APPROVALS, USE, group_of, hold, ids, items, told
from tests.integration.http.world import Served, bearer, body_of

POLICIES = "/api/policies"
POLICY: dict[str, Any] = {
    "name": "mails need a person",
    "action": "ask",
    "server": "mail",
    "tool": "send*",
    "annotations": {"destructiveHint": True},
    "arguments": [{"path": "to", "comparison": "not_matches", "value": "*@example.com"}],
    "callers": ["owner"],
    "priority": 5,
}


def at(request_id: str, deed: str = "") -> str:
    return f"{APPROVALS}/{request_id}{deed}"


async def add(hub: Served, **changes: Any) -> dict[str, Any]:
    answer = await hub.http.post(POLICIES, json={**POLICY, **changes})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{POLICIES}/{answer.json()['id']}"
    return answer.json()


async def test_a_held_call_shows_what_would_be_called_and_why(hub: Served) -> None:
    request_id = await hold(hub)
    [listed] = await items(hub, APPROVALS, status="pending")
    shown = (await hub.http.get(at(request_id))).json()
    assert listed == shown
    assert (shown["kind"], shown["status"], shown["tool"]) == ("approval", "pending", "send")
    assert shown["question"] == USE
    assert shown["warnings"] == []


async def test_unseen_characters_in_arguments_are_warned_of_and_kept(hub: Served) -> None:
    arguments = {"to": "anna\u200b@example.com"}
    title = "Send\u202e"
    request_id = await hold(hub, {**USE, "arguments": arguments, "title": title})
    shown = (await hub.http.get(at(request_id))).json()
    assert shown["question"]["arguments"] == arguments
    assert shown["question"]["title"] == "Send<U+202E>"
    assert any("arguments" in warning for warning in shown["warnings"])


async def test_a_person_lets_a_call_pass_with_other_arguments(hub: Served) -> None:
    request_id = await hold(hub)
    changed = {"to": "bert@example.com"}
    answer = await hub.http.post(at(request_id, "/approve"), json={"arguments": changed})
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["status"], shown["decided_by"]) == ("approved", "owner")
    assert shown["decision"] == {"arguments": changed, "remember": "once"}
    assert shown["question"]["arguments"] == USE["arguments"]


async def test_a_person_refuses_a_call_with_a_reason(hub: Served) -> None:
    request_id = await hold(hub)
    answer = await hub.http.post(at(request_id, "/deny"), json={"reason": "Not to Anna."})
    assert (answer.json()["status"], answer.json()["reason"]) == ("rejected", "Not to Anna.")
    later = await hub.http.post(at(request_id, "/approve"), json={})
    assert told(later) == (409, "request_decided")


async def test_of_fifty_approvals_one_wins(hub: Served) -> None:
    request_id = await hold(hub)
    answers = await asyncio.gather(
        *(hub.http.post(at(request_id, "/approve"), json={}) for _ in range(50))
    )
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 49}
    assert {told(one) for one in answers if one.status_code == 409} == {(409, "request_decided")}


@pytest.mark.parametrize("deed", ["/approve", "/deny"])
async def test_a_word_after_expiry_is_gone(hub: Served, deed: str) -> None:
    request_id = await hold(hub, ttl=timedelta(seconds=-1))
    assert told(await hub.http.post(at(request_id, deed), json={})) == (410, "request_expired")


@pytest.mark.parametrize("deed", ["/approve", "/deny"])
async def test_an_unknown_call_is_not_found(hub: Served, deed: str) -> None:
    answer = await hub.http.post(at("nobody", deed), json={})
    assert told(answer) == (404, "request_not_found")


@pytest.mark.parametrize("deed", ["/approve", "/deny"])
async def test_a_key_decides_no_call_of_its_own(hub: Served, deed: str) -> None:
    key = await hub.key("hitl:answer", "tools:call")
    request_id = await hold(hub, origin={"subject": key["id"]})
    own = await hub.http.post(at(request_id, deed), json={}, headers=bearer(key["secret"]))
    assert told(own) == (403, "own_request")
    assert (await hub.http.post(at(request_id, deed), json={})).status_code == 200


async def test_a_bound_key_decides_its_groups_calls_only(hub: Served) -> None:
    team = await group_of(hub, "team")
    own, foreign = await hold(hub, origin={"group": team}), await hold(hub)
    key = bearer((await hub.key("hitl:answer", group="team"))["secret"])
    listed = (await hub.http.get(APPROVALS, headers=key)).json()["items"]
    assert ids(listed) == [own]
    refused = await hub.http.post(at(foreign, "/deny"), json={}, headers=key)
    assert told(refused) == (404, "request_not_found")
    assert (await hub.http.post(at(own, "/deny"), json={}, headers=key)).status_code == 200


async def test_a_word_for_always_becomes_a_policy_and_needs_an_admin(hub: Served) -> None:
    request_id = await hold(hub)
    key = bearer((await hub.key("hitl:answer"))["secret"])
    body = {"remember": "always"}
    refused = await hub.http.post(at(request_id, "/approve"), json=body, headers=key)
    assert refused.status_code == 403
    assert (await hub.http.get(at(request_id))).json()["status"] == "pending"
    assert (await hub.http.post(at(request_id, "/approve"), json=body)).status_code == 200
    [policy] = await items(hub, POLICIES)
    assert (policy["action"], policy["source"]) == ("allow", request_id)
    assert (policy["server"], policy["tool"], policy["callers"]) == ("demo", "send", ["owner"])


async def test_a_word_for_a_conversation_needs_one(hub: Served) -> None:
    request_id = await hold(hub, origin={"conversation": ""})
    body = {"remember": "conversation"}
    refused = await hub.http.post(at(request_id, "/deny"), json=body)
    assert told(refused) == (409, "no_conversation")
    named = await hold(hub)
    assert (await hub.http.post(at(named, "/deny"), json=body)).status_code == 200
    [policy] = await items(hub, POLICIES)
    assert (policy["action"], policy["conversation"]) == ("deny", "c1")


@pytest.mark.parametrize(
    "body", [{"arguments": []}, {"remember": "forever"}, {"reason": "x"}, {"arguments": "x"}]
)
async def test_a_wrong_word_leaves_the_call_held(hub: Served, body: dict[str, Any]) -> None:
    request_id = await hold(hub)
    refused = await hub.http.post(at(request_id, "/approve"), json=body)
    assert refused.status_code == 422
    assert (await hub.http.get(at(request_id))).json()["status"] == "pending"


async def test_policies_are_made_changed_and_revoked_and_stay_in_the_record(hub: Served) -> None:
    made = await add(hub)
    assert {name: made[name] for name in POLICY} == POLICY
    assert (made["enabled"], made["created_by"], made["revoked_at"]) == (True, "owner", None)
    place = f"{POLICIES}/{made['id']}"
    changed = await hub.http.patch(place, json={"action": "deny", "arguments": []})
    assert (changed.json()["action"], changed.json()["arguments"]) == ("deny", [])
    assert changed.json()["tool"] == POLICY["tool"]
    assert ids(await items(hub, POLICIES)) == [made["id"]]
    assert (await hub.http.delete(place)).status_code == 204
    assert await items(hub, POLICIES) == []
    assert (await hub.http.get(place)).json()["revoked_by"] == "owner"
    record = await items(hub, POLICIES, revoked=True)
    assert {one["action"] for one in record} == {"ask", "deny"}
    for again in (await hub.http.delete(place), await hub.http.patch(place, json={})):
        assert told(again) == (404, "policy_not_found")


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"name": ""}, "name"),
        ({"action": "maybe"}, "action"),
        ({"annotations": {"scaryHint": True}}, "annotations"),
        ({"arguments": [{"path": "", "comparison": "equals", "value": 1}]}, "arguments"),
        ({"arguments": [{"path": "a", "comparison": "more_than", "value": "x"}]}, "arguments"),
        ({"priority": 1.5}, "priority"),
        ({"priority": 10_001}, "priority"),
        ({"callers": [""]}, "callers"),
        ({"conversation": "c1"}, "conversation"),
    ],
)
async def test_a_wrong_policy_names_the_field_and_is_not_kept(
    hub: Served, changes: dict[str, Any], loc: str
) -> None:
    refused = await hub.http.post(POLICIES, json={**POLICY, **changes})
    assert refused.status_code == 422
    assert body_of(refused)["errors"][0]["loc"][0] == loc
    assert await items(hub, POLICIES) == []


async def test_policies_are_listed_in_pages(hub: Served) -> None:
    made = [(await add(hub, name=f"p{number}"))["id"] for number in range(3)]
    first = (await hub.http.get(POLICIES, params={"limit": 2})).json()
    assert ids(first["items"]) == made[:2]
    assert ids(await items(hub, POLICIES, cursor=first["next_cursor"])) == made[2:]


async def test_policies_are_read_with_a_scope_and_written_by_admins_of_the_whole_hub(
    hub: Served,
) -> None:
    made = await add(hub)
    await group_of(hub, "team")
    reader = bearer((await hub.key("hub:read", "hub:write"))["secret"])
    bound = bearer((await hub.key("admin", group="team"))["secret"])
    assert (await hub.http.get(POLICIES, headers=reader)).status_code == 200
    for key, read in ((reader, 200), (bound, 403)):
        place = f"{POLICIES}/{made['id']}"
        assert (await hub.http.get(place, headers=key)).status_code == read
        for refused in (
            await hub.http.post(POLICIES, json=POLICY, headers=key),
            await hub.http.patch(place, json={}, headers=key),
            await hub.http.delete(place, headers=key),
        ):
            assert refused.status_code == 403
