"""Questions of servers over REST: shown without deceit, answered once, and only as asked."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from tests.contracts.hitl_samples import FOREIGN, FOREIGN_WORDS
from tests.integration.http.people import (
    ELICITATIONS,
    FORM,
    LINK,
    elicit,
    group_of,
    ids,
    items,
    told,
)
from tests.integration.http.world import Served, bearer, body_of

ANNA = {"action": "accept", "content": {"name": "Anna", "age": 30, "size": "m"}}


def at(request_id: str, deed: str = "") -> str:
    return f"{ELICITATIONS}/{request_id}{deed}"


async def test_a_question_is_shown_with_its_form(hub: Served) -> None:
    request_id = await elicit(hub)
    [listed] = await items(hub, ELICITATIONS)
    shown = (await hub.http.get(at(request_id))).json()
    assert listed == shown
    assert (shown["kind"], shown["status"], shown["server"]) == ("elicitation", "pending", "demo")
    assert (shown["tool"], shown["agent"], shown["subject"]) == ("send", "an agent", "owner")
    question = shown["question"]
    assert (question["mode"], question["message"]) == ("form", "Who are you?")
    assert question["requested_schema"] == FORM["requestedSchema"]
    fields = {field["name"]: field for field in question["fields"]}
    assert fields["name"]["label"] == "Your name"
    assert fields["name"]["required"]
    assert fields["name"]["min_length"] == 2
    assert fields["size"]["choices"][1] == {"value": "m", "label": "Medium"}


async def test_an_answer_completes_the_question_and_is_told(hub: Served) -> None:
    request_id = await elicit(hub)
    answer = await hub.http.post(at(request_id, "/respond"), json=ANNA)
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["status"], shown["decided_by"]) == ("completed", "owner")
    assert shown["result"] == ANNA
    assert shown["decided_at"] == shown["ended_at"]


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_person_may_refuse(hub: Served, action: str) -> None:
    request_id = await elicit(hub)
    shown = (await hub.http.post(at(request_id, "/respond"), json={"action": action})).json()
    assert shown["result"] == {"action": action}


@pytest.mark.parametrize(
    ("content", "loc"),
    [
        (None, ["content", "name"]),
        ({}, ["content", "name"]),
        ({"name": "A"}, ["content", "name"]),
        ({"name": "Anna", "age": 1.5}, ["content", "age"]),
        ({"name": "Anna", "size": "xl"}, ["content", "size"]),
        ({"name": True}, ["content", "name"]),
    ],
)
async def test_content_that_breaks_the_schema_names_the_field_and_leaves_it_open(
    hub: Served, content: Any, loc: list[str]
) -> None:
    request_id = await elicit(hub)
    body = {"action": "accept", "content": content}
    refused = await hub.http.post(at(request_id, "/respond"), json=body)
    assert refused.status_code == 422
    assert [fault["loc"] for fault in body_of(refused)["errors"]] == [loc]
    assert (await hub.http.get(at(request_id))).json()["status"] == "pending"
    assert (await hub.http.post(at(request_id, "/respond"), json=ANNA)).status_code == 200


async def test_one_of_many_answers_wins(hub: Served) -> None:
    request_id = await elicit(hub)
    answers = await asyncio.gather(
        *(hub.http.post(at(request_id, "/respond"), json=ANNA) for _ in range(20))
    )
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 19}
    assert {told(one) for one in answers if one.status_code == 409} == {(409, "request_decided")}


async def test_an_answer_after_expiry_is_gone(hub: Served) -> None:
    request_id = await elicit(hub, ttl=timedelta(seconds=-1))
    late = await hub.http.post(at(request_id, "/respond"), json=ANNA)
    assert told(late) == (410, "request_expired")


async def test_an_unknown_question_is_not_found(hub: Served) -> None:
    for answer in (
        await hub.http.get(at("nobody")),
        await hub.http.post(at("nobody", "/respond"), json=ANNA),
        await hub.http.get(f"/api/approvals/{await elicit(hub)}"),
    ):
        assert told(answer) == (404, "request_not_found")


async def test_a_link_is_shown_with_its_host_and_is_not_fetched(hub: Served) -> None:
    request_id = await elicit(hub, LINK)
    shown = (await hub.http.get(at(request_id))).json()["question"]
    assert (shown["mode"], shown["host"]) == ("url", "login.example")
    assert (shown["url"], shown["fields"]) == (LINK["url"], [])
    body = {"action": "accept", "content": {"any": 1}}
    accepted = await hub.http.post(at(request_id, "/respond"), json=body)
    assert accepted.json()["result"] == {"action": "accept"}


async def test_a_deceptive_link_is_warned_of(hub: Served) -> None:
    request_id = await elicit(hub, {**LINK, "url": "http://bank.example@203.0.113.9:81/"})
    shown = (await hub.http.get(at(request_id))).json()
    assert shown["question"]["host"] == "203.0.113.9"
    assert len(shown["warnings"]) >= 3


async def test_unseen_characters_are_written_out_and_warned_of(hub: Served) -> None:
    sly = {"type": "string", "title": "Na\u202eme", "description": "zero\u200bwidth"}
    schema = {"type": "object", "properties": {"name": sly}}
    request_id = await elicit(
        hub, {"message": "Pay \u202enow", "requestedSchema": schema}, origin={"agent": "a\u202eb"}
    )
    answer = await hub.http.get(at(request_id))
    assert "\u202e" not in answer.text
    assert "\u200b" not in answer.text
    shown = answer.json()
    assert shown["agent"] == "a<U+202E>b"
    assert shown["question"]["message"] == "Pay <U+202E>now"
    assert shown["question"]["fields"][0]["label"] == "Na<U+202E>me"
    assert any("message" in warning for warning in shown["warnings"])


async def test_json_that_no_utf8_can_hold_is_shown_all_the_same(hub: Served) -> None:
    shown = {**FORM, "message": FOREIGN_WORDS, "requestedSchema": FOREIGN}
    request_id = await elicit(hub, shown, origin={"key": FOREIGN_WORDS})
    answer = await hub.http.get(at(request_id))
    assert answer.status_code == 200
    assert answer.json()["warnings"]
    declined = await hub.http.post(at(request_id, "/respond"), json={"action": "decline"})
    assert declined.status_code == 200


async def test_questions_are_listed_newest_first_by_status_and_in_pages(hub: Served) -> None:
    made = [await elicit(hub) for _ in range(4)]
    await hub.http.post(at(made[0], "/respond"), json={"action": "cancel"})
    assert ids(await items(hub, ELICITATIONS)) == made[::-1]
    assert ids(await items(hub, ELICITATIONS, status="completed")) == [made[0]]
    assert ids(await items(hub, ELICITATIONS, status="completed,pending")) == made[::-1]
    assert ids(await items(hub, ELICITATIONS, status=["completed", "expired"])) == [made[0]]
    first = (await hub.http.get(ELICITATIONS, params={"status": "pending", "limit": 2})).json()
    assert ids(first["items"]) == [made[3], made[2]]
    rest = await items(hub, ELICITATIONS, status="pending", cursor=first["next_cursor"])
    assert ids(rest) == [made[1]]
    wrong = await hub.http.get(ELICITATIONS, params={"status": "pending,open"})
    assert wrong.status_code == 422


async def test_a_bound_key_sees_and_answers_its_groups_questions_only(hub: Served) -> None:
    team, other = await group_of(hub, "team"), await group_of(hub, "other")
    own = await elicit(hub, origin={"group": team})
    foreign = [await elicit(hub), await elicit(hub, origin={"group": other})]
    key = bearer((await hub.key("hitl:answer", group="team"))["secret"])
    listed = (await hub.http.get(ELICITATIONS, headers=key)).json()["items"]
    assert ids(listed) == [own]
    for request_id in foreign:
        assert (await hub.http.get(at(request_id), headers=key)).status_code == 404
        refused = await hub.http.post(at(request_id, "/respond"), json=ANNA, headers=key)
        assert told(refused) == (404, "request_not_found")
    answer = await hub.http.post(at(own, "/respond"), json=ANNA, headers=key)
    assert answer.status_code == 200


async def test_answering_needs_its_scope(hub: Served) -> None:
    request_id = await elicit(hub)
    key = bearer((await hub.key("hub:read", "hub:write", "tools:call"))["secret"])
    for answer in (
        await hub.http.get(ELICITATIONS, headers=key),
        await hub.http.get(at(request_id), headers=key),
        await hub.http.post(at(request_id, "/respond"), json=ANNA, headers=key),
    ):
        assert told(answer) == (403, "insufficient_scope")
