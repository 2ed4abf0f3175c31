"""`agenthub inbox` and `agenthub rules` against a served hub."""

import asyncio
import json
from typing import Any

import pytest

from agenthub.adapters.inbound.cli.app import run
from agenthub.adapters.inbound.cli.local import Local, ServeOptions
from agenthub.adapters.outbound.clock.system import SystemClock
from agenthub.domain.entities.hitl.elicitation_request import ElicitationRequest
from agenthub.domain.entities.hitl.request import HitlRequest
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.services.hitl.queue import HitlQueue
from tests.integration.http.people import LINK, elicit, hold, wish
from tests.integration.http.world import TOKEN, Served

Out = pytest.CaptureFixture[str]


def _no_serve(options: ServeOptions) -> int:
    raise AssertionError("nothing is to be served here")


async def agenthub(hub: Served, *words: str) -> int:
    local = Local(
        version="0",
        now=SystemClock().now,
        serve=_no_serve,
        setting_faults=lambda folder: [],
        owner_token=lambda folder: TOKEN,
        address=lambda folder: hub.url,
    )
    return await asyncio.to_thread(run, local, list(words))


async def stored(hub: Served, kind: type[HitlRequest], request_id: str) -> HitlRequest:
    queue: HitlQueue = hub.world.hub.requests
    return await queue.get(OWNER, kind, request_id)


async def test_what_waits_is_listed_and_shown(hub: Served, capsys: Out) -> None:
    asked = [await elicit(hub), await elicit(hub, LINK), await hold(hub), await wish(hub)]
    assert await agenthub(hub, "inbox", "--json") == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == asked
    assert await agenthub(hub, "inbox", "ls") == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    for request_id, words in zip(
        asked, ("Your name", "login.example", "anna@example.com", "Say hello."), strict=True
    ):
        assert await agenthub(hub, "inbox", "show", request_id) == 0
        assert words in capsys.readouterr().out


async def test_a_form_is_answered_and_faults_stand_at_their_field(hub: Served, capsys: Out) -> None:
    request_id = await elicit(hub)
    answer = ("inbox", "answer", request_id, "--accept", "--set", "size=m", "--set")
    assert await agenthub(hub, *answer, "name=A") == 1
    assert "name" in capsys.readouterr().err
    assert await agenthub(hub, *answer, "name=Ada") == 0
    done = await stored(hub, ElicitationRequest, request_id)
    assert done.result == {"action": "accept", "content": {"name": "Ada", "size": "m"}}
    assert await agenthub(hub, *answer, "name=Bob") == 1


async def test_an_address_is_agreed_to_or_declined(hub: Served, capsys: Out) -> None:
    yes, no = await elicit(hub, LINK), await elicit(hub, LINK)
    assert await agenthub(hub, "inbox", "answer", yes, "--accept") == 0
    assert LINK["url"] in capsys.readouterr().out
    assert await agenthub(hub, "inbox", "answer", no, "--decline") == 0
    for request_id, action in ((yes, "accept"), (no, "decline")):
        done = await stored(hub, ElicitationRequest, request_id)
        assert done.result == {"action": action}


async def test_calls_are_let_pass_or_denied(hub: Served) -> None:
    yes, no = await hold(hub), await hold(hub)
    assert await agenthub(hub, "inbox", "answer", yes, "--approve", "--conversation") == 0
    assert await agenthub(hub, "inbox", "answer", no, "--deny", "Not to Anna.") == 0
    passed = await stored(hub, ToolApproval, yes)
    denied = await stored(hub, ToolApproval, no)
    assert (passed.decision or {})["remember"] == "conversation"
    assert (denied.status, denied.reason) == ("rejected", "Not to Anna.")


async def test_a_models_answer_is_looked_over_and_delivered(hub: Served, capsys: Out) -> None:
    request_id = await wish(hub)
    assert await agenthub(hub, "inbox", "answer", request_id, "--approve", "--review") == 0
    assert "| Hello." in capsys.readouterr().out
    assert await agenthub(hub, "inbox", "--json") == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == [request_id]
    assert await agenthub(hub, "inbox", "answer", request_id, "--deliver") == 0
    done = await stored(hub, SamplingRequest, request_id)
    assert done.status == "completed"
    result: dict[str, Any] = done.result or {}
    assert result["content"] == {"type": "text", "text": "Hello."}


async def test_rules_are_made_listed_and_revoked(hub: Served, capsys: Out) -> None:
    condition = "to not_matches *@example.com"
    words = ("--server", "mail", "--hint", "destructiveHint=true", "--argument", condition)
    assert await agenthub(hub, "rules", "add", "ask", *words) == 0
    policy = capsys.readouterr().out.strip()
    sampling = ("notes", "gpt-*", "--daily-usd", "0.50", "--max-tokens", "9")
    assert await agenthub(hub, "rules", "add-sampling", *sampling) == 0
    rule = capsys.readouterr().out.strip()
    assert await agenthub(hub, "rules", "ls") == 0
    said = capsys.readouterr().out
    for word in (policy, rule, "destructiveHint=true", "*@example.com", "0.50"):
        assert word in said
    for one in (policy, rule):
        assert await agenthub(hub, "rules", "rm", one) == 0
        assert await agenthub(hub, "rules", "rm", one) == 1
    capsys.readouterr()
    assert await agenthub(hub, "rules", "ls", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"policies": [], "sampling": []}
    assert await agenthub(hub, "rules", "ls", "--all") == 0
    assert "revoked by owner" in capsys.readouterr().out


async def test_a_condition_that_the_hub_does_not_know_is_refused(hub: Served, capsys: Out) -> None:
    assert await agenthub(hub, "rules", "add", "ask", "--argument", "to sounds_like x") == 1
    assert "comparison" in capsys.readouterr().err
