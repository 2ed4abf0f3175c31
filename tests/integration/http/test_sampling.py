"""Servers' wishes for a model's answer over REST: edited, run once, looked over, delivered."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from agenthub.domain.entities.cost import Tokens
from agenthub.domain.ports.outbound.llm import ModelChunk
from tests.contracts.hitl_samples import FOREIGN, FOREIGN_WORDS
from tests.integration.http.people import SAMPLINGS, WISH, group_of, ids, items, told, wish
from tests.integration.http.world import Served, bearer, body_of
from tests.support.waiting import eventually

RULES = "/api/sampling/rules"
RULE: dict[str, Any] = {
    "server": "demo",
    "model": "openai/*",
    "daily_usd": "0.50",
    "max_tokens": 64,
}
LAST = ModelChunk(finish_reason="stop", tokens=Tokens(prompt=1_000, completion=100))


def at(request_id: str, deed: str = "") -> str:
    return f"{SAMPLINGS}/{request_id}{deed}"


async def becomes(hub: Served, request_id: str, status: str) -> dict[str, Any]:
    """Wait until a wish has a status and the model is not at work; give it."""

    async def look() -> dict[str, Any] | None:
        shown = (await hub.http.get(at(request_id))).json()
        is_there = shown["status"] == status and (status != "approved" or shown["in_review"])
        return shown if is_there else None

    found = await eventually(look)
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def _says_hello(hub: Served) -> None:
    hub.world.llm.chunks = [ModelChunk(text="Hello."), LAST]


async def test_a_wish_is_shown_as_it_would_be_sent(hub: Served) -> None:
    request_id = await wish(hub)
    [listed] = await items(hub, SAMPLINGS)
    shown = (await hub.http.get(at(request_id))).json()
    assert listed == shown
    assert (shown["kind"], shown["status"], shown["in_review"]) == ("sampling", "pending", False)
    question = shown["question"]
    assert question["messages"] == WISH["messages"]
    assert (question["system_prompt"], question["max_tokens"]) == ("Be short.", 100)
    assert question["model_hints"] == ["gpt"]
    assert (shown["cost_nano_usd"], shown["cost_usd"]) == (None, None)


async def test_unseen_characters_stay_in_what_is_sent_and_are_warned_of(hub: Served) -> None:
    messages = [{"role": "user", "content": {"type": "text", "text": "a\u202eb"}}]
    request_id = await wish(hub, {**WISH, "messages": messages})
    shown = (await hub.http.get(at(request_id))).json()
    assert shown["question"]["messages"] == messages
    assert any("messages" in warning for warning in shown["warnings"])


async def test_json_that_no_utf8_can_hold_is_shown_all_the_same(hub: Served) -> None:
    odd = {"role": "user", "content": {"type": "text", "text": FOREIGN_WORDS, "_meta": FOREIGN}}
    request_id = await wish(hub, {**WISH, "messages": [odd], "temperature": float("inf")})
    answer = await hub.http.get(at(request_id))
    assert answer.status_code == 200
    assert answer.json()["warnings"]


async def test_an_approved_wish_is_run_once_and_charged(hub: Served) -> None:
    request_id = await wish(hub)
    approved = await hub.http.post(at(request_id, "/approve"), json={})
    assert approved.status_code == 200, approved.text
    shown = await becomes(hub, request_id, "completed")
    assert shown["result"]["content"] == {"type": "text", "text": "Hello."}
    assert shown["decided_by"] == "owner"
    assert shown["cost_nano_usd"] > 0
    assert float(shown["cost_usd"]) * 10**9 == pytest.approx(shown["cost_nano_usd"])
    [entry] = await items(hub, "/api/costs/entries", kind="model")
    assert (entry["purpose"], entry["cost_nano_usd"]) == ("sampling", shown["cost_nano_usd"])
    assert len(hub.world.llm.requests) == 1


async def test_what_a_person_changes_is_what_is_asked(hub: Served) -> None:
    request_id = await wish(hub)
    edits = {
        "messages": [{"role": "user", "content": {"type": "text", "text": "Say bye."}}],
        "system_prompt": "Be long.",
        "model": "openai/gpt-5.5",
        "max_tokens": 7,
    }
    assert (await hub.http.post(at(request_id, "/approve"), json=edits)).status_code == 200
    shown = await becomes(hub, request_id, "completed")
    [asked] = hub.world.llm.requests
    assert "Say bye." in str(asked.messages)
    assert "Be long." in str(asked.messages)
    assert asked.max_tokens == 7
    assert {name: shown["decision"][name] for name in edits} == edits
    assert shown["question"]["messages"] == WISH["messages"]


async def test_a_reviewed_answer_waits_to_be_delivered_and_may_be_edited(hub: Served) -> None:
    request_id = await wish(hub)
    await hub.http.post(at(request_id, "/approve"), json={"review": True})
    shown = await becomes(hub, request_id, "approved")
    assert shown["result"]["content"]["text"] == "Hello."
    wrong = {"result": {"role": "assistant", "content": {"type": "text"}, "model": "m"}}
    assert (await hub.http.post(at(request_id, "/deliver"), json=wrong)).status_code == 422
    own = {"role": "assistant", "content": {"type": "text", "text": "Hi."}, "model": "m"}
    answer = await hub.http.post(at(request_id, "/deliver"), json={"result": own})
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert answer.json()["result"]["content"] == own["content"]
    again = await hub.http.post(at(request_id, "/deliver"), json={})
    assert told(again) == (409, "request_decided")


async def test_a_reviewed_answer_is_delivered_as_it_is_or_rejected(hub: Served) -> None:
    kept, dropped = await wish(hub), await wish(hub)
    for request_id in (kept, dropped):
        await hub.http.post(at(request_id, "/approve"), json={"review": True})
        await becomes(hub, request_id, "approved")
    delivered = (await hub.http.post(at(kept, "/deliver"), json={})).json()
    assert delivered["result"]["content"]["text"] == "Hello."
    rejected = (await hub.http.post(at(dropped, "/reject"), json={"reason": "Wrong."})).json()
    assert (rejected["status"], rejected["reason"]) == ("rejected", "Wrong.")
    assert rejected["result"] is None


async def test_a_wish_is_rejected_and_cannot_be_approved_then(hub: Served) -> None:
    request_id = await wish(hub)
    rejected = await hub.http.post(at(request_id, "/reject"), json={"reason": "No."})
    assert (rejected.status_code, rejected.json()["status"]) == (200, "rejected")
    for deed in ("/approve", "/reject", "/deliver"):
        late = await hub.http.post(at(request_id, deed), json={})
        assert told(late) == (409, "request_decided"), deed
    assert hub.world.llm.requests == []


async def test_of_fifty_approvals_one_wins_and_the_model_is_asked_once(hub: Served) -> None:
    request_id = await wish(hub)
    answers = await asyncio.gather(
        *(hub.http.post(at(request_id, "/approve"), json={}) for _ in range(50))
    )
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 49}
    await becomes(hub, request_id, "completed")
    assert len(hub.world.llm.requests) == 1


@pytest.mark.parametrize("deed", ["/approve", "/reject"])
async def test_a_word_after_expiry_is_gone(hub: Served, deed: str) -> None:
    request_id = await wish(hub, ttl=timedelta(seconds=-1))
    assert told(await hub.http.post(at(request_id, deed), json={})) == (410, "request_expired")
    assert hub.world.llm.requests == []


@pytest.mark.parametrize("deed", ["/approve", "/reject", "/deliver", "/estimate"])
async def test_an_unknown_wish_is_not_found(hub: Served, deed: str) -> None:
    answer = await hub.http.post(at("nobody", deed), json={})
    assert told(answer) == (404, "request_not_found")


@pytest.mark.parametrize(
    "edits",
    [
        {"messages": [{"role": "user"}]},
        {"messages": []},
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"review": "yes"},
        {"temperature": 1},
    ],
)
async def test_edits_that_cannot_be_asked_leave_the_wish_open(
    hub: Served, edits: dict[str, Any]
) -> None:
    request_id = await wish(hub)
    refused = await hub.http.post(at(request_id, "/approve"), json=edits)
    assert refused.status_code == 422, refused.text
    assert body_of(refused)["errors"]
    assert (await hub.http.get(at(request_id))).json()["status"] == "pending"


async def test_an_estimate_says_what_it_may_cost_and_changes_nothing(hub: Served) -> None:
    request_id = await wish(hub)
    found = (await hub.http.post(at(request_id, "/estimate"), json={"max_tokens": 10})).json()
    assert (found["model"], found["max_tokens"]) == ("openai/gpt-5.5", 10)
    assert found["prompt_tokens"] > 0
    assert found["most_nano_usd"] > 0
    more = (await hub.http.post(at(request_id, "/estimate"), json={"max_tokens": 90})).json()
    assert more["most_nano_usd"] > found["most_nano_usd"]
    assert (await hub.http.get(at(request_id))).json()["status"] == "pending"
    assert hub.world.llm.requests == []


async def test_a_failing_model_fails_the_wish_and_says_why(hub: Served) -> None:
    hub.world.llm.error = RuntimeError("secret words of a provider")
    hub.world.llm.chunks = []
    request_id = await wish(hub)
    await hub.http.post(at(request_id, "/approve"), json={})
    shown = await becomes(hub, request_id, "failed")
    assert shown["reason"]
    assert "secret words" not in str(shown)


async def test_a_bound_key_decides_its_groups_wishes_only(hub: Served) -> None:
    team = await group_of(hub, "team")
    own, foreign = await wish(hub, origin={"group": team}), await wish(hub)
    key = bearer((await hub.key("hitl:answer", group="team"))["secret"])
    assert ids((await hub.http.get(SAMPLINGS, headers=key)).json()["items"]) == [own]
    for deed in ("/approve", "/reject", "/deliver", "/estimate"):
        refused = await hub.http.post(at(foreign, deed), json={}, headers=key)
        assert told(refused) == (404, "request_not_found"), deed
    assert (await hub.http.post(at(own, "/reject"), json={}, headers=key)).status_code == 200


async def test_rules_are_made_listed_and_revoked_and_stay_in_the_record(hub: Served) -> None:
    answer = await hub.http.post(RULES, json=RULE)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert {name: made[name] for name in RULE} == RULE
    assert (made["daily_nano_usd"], made["created_by"]) == (500_000_000, "owner")
    assert ids(await items(hub, RULES)) == [made["id"]]
    assert (await hub.http.delete(f"{RULES}/{made['id']}")).status_code == 204
    assert await items(hub, RULES) == []
    [kept] = await items(hub, RULES, revoked=True)
    assert kept["revoked_by"] == "owner"
    again = await hub.http.delete(f"{RULES}/{made['id']}")
    assert told(again) == (404, "rule_not_found")


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"server": ""}, "server"),
        ({"model": "x" * 201}, "model"),
        ({"daily_usd": "1e3"}, "daily_usd"),
        ({"daily_usd": "0"}, "daily_nano_usd"),
        ({"daily_usd": None}, "daily_usd"),
        ({"daily_nano_usd": 5}, "daily_usd"),
        ({"daily_usd": None, "daily_nano_usd": 0}, "daily_nano_usd"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"budget": 1}, "budget"),
    ],
)
async def test_a_wrong_rule_names_the_field_and_is_not_kept(
    hub: Served, changes: dict[str, Any], loc: str
) -> None:
    refused = await hub.http.post(RULES, json={**RULE, **changes})
    assert refused.status_code == 422
    assert body_of(refused)["errors"][0]["loc"] == [loc]
    assert await items(hub, RULES) == []


async def test_rules_are_written_by_admins_only(hub: Served) -> None:
    made = (await hub.http.post(RULES, json=RULE)).json()
    key = bearer((await hub.key("hub:read", "hub:write", "hitl:answer"))["secret"])
    assert (await hub.http.get(RULES, headers=key)).status_code == 200
    assert (await hub.http.post(RULES, json=RULE, headers=key)).status_code == 403
    assert (await hub.http.delete(f"{RULES}/{made['id']}", headers=key)).status_code == 403
