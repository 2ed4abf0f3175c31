"""Tool calls held back for a person, and what a person says of them."""

import asyncio
import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from agenthub.domain.entities.hitl.request import MAX_REASON_LENGTH, Origin, RequestStatus
from agenthub.domain.entities.hitl.rules import ApprovalPolicy, PolicyAction, ToolUse
from agenthub.domain.entities.hitl.tool_approval import Remember, ToolApproval
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.exceptions import (
    ConflictError,
    DeniedError,
    GoneError,
    HubError,
    InvalidError,
    NotFoundError,
)
from agenthub.domain.ids import HeldCallId
from agenthub.domain.services.hitl.approvals import MAX_ARGUMENTS_CHARS, ApprovalDesk
from agenthub.domain.services.hitl.queue import HitlQueue
from agenthub.domain.services.hitl.rules import PolicyDraft
from tests.fakes.clock import FakeClock, FakeIdFactory
from tests.fakes.storage import FakeUnitOfWork
from tests.unit.domain.services.hitl.asked import AGENT_KEY, PERSON, TTL, held_call, origin

ADMIN = Principal(OWNER.workspace, "KEY-OF-ADA", frozenset({Scope.ADMIN}))
USE = ToolUse(
    server="mail",
    tool="send",
    annotations={"destructiveHint": True},
    arguments={"to": "ann@example.com", "count": 1},
    subject=AGENT_KEY,
    conversation="C1",
)


class World:
    """A hub with a policy that asks about every call, and one call that it holds back."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        ids = FakeIdFactory()
        self.uow = FakeUnitOfWork(clock=self.clock)
        self.queue = HitlQueue(
            bus=self.uow.bus,
            clock=self.clock,
            ids=ids,
            keep_days=90,
            shared=False,
            ttl_s=TTL.total_seconds(),
            uow=self.uow,
        )
        self.desk = ApprovalDesk(clock=self.clock, ids=ids, queue=self.queue, uow=self.uow)

    async def hold_back(self, where: Origin | None = None, use: ToolUse = USE) -> ToolApproval:
        policy = self.desk.verdict(use)
        assert policy is not None
        asked = self.desk.make(
            use,
            policy,
            origin=where or origin(),
            held=HeldCallId(f"H-of-{self.queue.new_id()}"),
            workspace=OWNER.workspace,
            title="Send mail",
            description="Sends a mail.",
        )
        await self.queue.ask(held_call(asked.held, asked.id), [asked], None)
        return asked

    async def stored(self, asked: ToolApproval) -> ToolApproval:
        return await self.queue.get(OWNER, ToolApproval, asked.id)

    async def remembered(self) -> list[ApprovalPolicy]:
        return [one for one in await self.desk.policies.all(OWNER) if one.source]


@pytest.fixture
async def world() -> World:
    made = World()
    draft = PolicyDraft(name="Mail needs a person.", action=PolicyAction.ASK, priority=7)
    await made.desk.policies.create(OWNER, draft)
    return made


async def test_without_policies_every_call_passes() -> None:
    desk = World().desk
    await desk.load()

    assert not desk.has_policies
    assert desk.verdict(USE) is None


async def test_a_call_that_a_policy_allows_passes(world: World) -> None:
    draft = PolicyDraft(name="yes", action=PolicyAction.ALLOW, tool="send", priority=8)
    await world.desk.policies.create(OWNER, draft)

    assert world.desk.has_policies
    assert world.desk.verdict(USE) is None
    assert world.desk.verdict(replace(USE, tool="wipe")) is not None


async def test_a_person_is_shown_the_call_and_why_it_waits(world: World) -> None:
    asked = await world.hold_back()

    assert asked.shown == {
        "tool": "send",
        "arguments": {"to": "ann@example.com", "count": 1},
        "title": "Send mail",
        "description": "Sends a mail.",
        "annotations": {"destructiveHint": True},
        "why": "Mail needs a person.",
    }
    assert asked.expires_at == world.clock.now() + TTL
    assert asked.policy is not None


async def test_a_word_for_once_decides_this_call_and_no_other(world: World) -> None:
    asked = await world.hold_back()

    decided = await world.desk.approve(PERSON, asked.id)

    assert decided == await world.stored(asked)
    assert (decided.status, decided.decided_by) == (RequestStatus.APPROVED, PERSON.subject)
    assert (decided.decided_at, decided.decision) == (world.clock.now(), {"remember": "once"})
    assert world.desk.verdict(USE) is not None


async def test_changed_arguments_are_recorded_beside_what_was_shown(world: World) -> None:
    asked = await world.hold_back()

    decided = await world.desk.approve(PERSON, asked.id, arguments={"to": "bob@example.com"})

    assert decided.decision == {"remember": "once", "arguments": {"to": "bob@example.com"}}
    assert decided.shown["arguments"] == {"to": "ann@example.com", "count": 1}


async def test_a_call_that_nests_too_deep_to_be_shown_is_refused(world: World) -> None:
    deep = json.loads("[" * 200 + "]" * 200)

    with pytest.raises(InvalidError) as refused:
        await world.hold_back(use=replace(USE, arguments={"a": deep}))

    assert [fault.loc for fault in refused.value.faults] == [("arguments",)]


async def test_a_number_beyond_all_bounds_can_be_changed(world: World) -> None:
    asked = await world.hold_back(use=replace(USE, arguments={"a": float("inf")}))

    decided = await world.desk.approve(PERSON, asked.id, arguments={"a": 1})

    assert decided.decision == {"arguments": {"a": 1}, "remember": "once"}


@pytest.mark.parametrize(
    ("count", "is_change"),
    [(1, False), (True, True), (2, True)],
)
async def test_arguments_are_changed_where_json_sees_a_change(
    world: World, count: Any, is_change: bool
) -> None:
    asked = await world.hold_back()

    decided = await world.desk.approve(
        PERSON, asked.id, arguments={"count": count, "to": "ann@example.com"}
    )

    assert ("arguments" in (decided.decision or {})) is is_change


@pytest.mark.parametrize(
    "arguments",
    [
        *(["a"], "a", {"a": float("nan")}, {"a": object()}, {"a": "x" * MAX_ARGUMENTS_CHARS}),
        json.loads('{"a":' * 200 + "1" + "}" * 200),
    ],
)
async def test_arguments_that_cannot_be_sent_are_refused(world: World, arguments: Any) -> None:
    asked = await world.hold_back()

    with pytest.raises(InvalidError) as refused:
        await world.desk.approve(PERSON, asked.id, arguments=arguments)

    assert [fault.loc for fault in refused.value.faults] == [("arguments",)]
    assert (await world.stored(asked)).status is RequestStatus.PENDING


async def test_a_denied_call_has_a_reason_for_the_model(world: World) -> None:
    asked = await world.hold_back()

    decided = await world.desk.deny(PERSON, asked.id, reason="Not to her.")

    assert (decided.status, decided.reason) == (RequestStatus.REJECTED, "Not to her.")
    with pytest.raises(InvalidError):
        await world.desk.deny(PERSON, asked.id, reason="x" * (MAX_REASON_LENGTH + 1))


async def test_a_yes_for_always_lets_this_caller_use_this_tool_in_future(world: World) -> None:
    asked = await world.hold_back()

    decided = await world.desk.approve(ADMIN, asked.id, remember=Remember.ALWAYS)

    (rule,) = await world.remembered()
    assert decided.decision == {"remember": "always"}
    assert (rule.action, rule.source) == (PolicyAction.ALLOW, asked.id)
    assert (rule.server, rule.tool, rule.callers) == ("mail", "send", (AGENT_KEY,))
    assert (rule.created_by, rule.priority) == (ADMIN.subject, 7)
    assert world.desk.verdict(replace(USE, conversation="C2", arguments={})) is None
    assert world.desk.verdict(replace(USE, subject="another key")) is not None
    assert world.desk.verdict(replace(USE, tool="sender")) is not None
    assert world.desk.verdict(replace(USE, server="mail2")) is not None


async def test_a_no_for_always_denies_in_future_without_asking(world: World) -> None:
    asked = await world.hold_back()

    await world.desk.deny(ADMIN, asked.id, remember=Remember.ALWAYS)

    verdict = world.desk.verdict(USE)
    assert verdict is not None
    assert verdict.action is PolicyAction.DENY


async def test_a_word_for_the_conversation_holds_in_it_alone(world: World) -> None:
    asked = await world.hold_back()

    await world.desk.approve(PERSON, asked.id, remember=Remember.CONVERSATION)

    assert world.desk.verdict(USE) is None
    assert world.desk.verdict(replace(USE, conversation="C2")) is not None
    assert world.desk.verdict(replace(USE, subject="another key")) is not None


async def test_a_standing_word_is_for_names_as_they_are_written(world: World) -> None:
    odd = replace(USE, server="m*", tool="s?n[d]\\")
    asked = await world.hold_back(origin(server="m*", key="s?n[d]\\"), odd)

    await world.desk.approve(ADMIN, asked.id, remember=Remember.ALWAYS)

    assert world.desk.verdict(odd) is None
    assert world.desk.verdict(replace(odd, server="mail")) is not None
    assert world.desk.verdict(replace(odd, tool="send\\")) is not None


async def test_a_revoked_word_holds_no_more(world: World) -> None:
    asked = await world.hold_back()
    await world.desk.approve(ADMIN, asked.id, remember=Remember.ALWAYS)
    (rule,) = await world.remembered()

    await world.desk.policies.revoke(ADMIN, rule.id)

    assert world.desk.verdict(USE) is not None


@pytest.mark.parametrize("word", ["approve", "deny"])
async def test_without_a_conversation_a_word_for_it_changes_nothing(
    world: World, word: str
) -> None:
    asked = await world.hold_back(origin(conversation=""))

    with pytest.raises(ConflictError) as refused:
        await getattr(world.desk, word)(PERSON, asked.id, remember=Remember.CONVERSATION)

    assert refused.value.code == "no_conversation"
    assert (await world.stored(asked)).status is RequestStatus.PENDING
    assert await world.remembered() == []


@pytest.mark.parametrize("word", ["approve", "deny"])
async def test_admins_alone_make_lasting_rules(world: World, word: str) -> None:
    asked = await world.hold_back()

    with pytest.raises(DeniedError) as refused:
        await getattr(world.desk, word)(PERSON, asked.id, remember=Remember.ALWAYS)

    assert refused.value.code == "insufficient_scope"
    assert (await world.stored(asked)).status is RequestStatus.PENDING
    assert await world.remembered() == []


@pytest.mark.parametrize("word", ["approve", "deny"])
async def test_a_key_does_not_decide_on_its_own_calls(world: World, word: str) -> None:
    asked = await world.hold_back()

    with pytest.raises(DeniedError) as refused:
        await getattr(world.desk, word)(replace(ADMIN, subject=AGENT_KEY), asked.id)

    assert refused.value.code == "own_request"
    assert (await world.stored(asked)).status is RequestStatus.PENDING


async def test_the_owner_decides_on_calls_of_the_owner_too(world: World) -> None:
    asked = await world.hold_back(origin(subject=OWNER.subject))

    assert (await world.desk.approve(OWNER, asked.id)).decided_by == OWNER.subject


async def test_what_was_decided_or_has_expired_makes_no_standing_word(world: World) -> None:
    late, decided = await world.hold_back(), await world.hold_back()
    await world.desk.deny(PERSON, decided.id)
    with pytest.raises(ConflictError):
        await world.desk.approve(ADMIN, decided.id, remember=Remember.ALWAYS)
    world.clock.advance(TTL.total_seconds())
    with pytest.raises(GoneError):
        await world.desk.approve(ADMIN, late.id, remember=Remember.ALWAYS)
    with pytest.raises(NotFoundError):
        await world.desk.approve(ADMIN, "unknown", remember=Remember.ALWAYS)

    assert await world.remembered() == []


async def test_of_50_parallel_words_one_holds(world: World) -> None:
    asked = await world.hold_back()

    outcomes = await asyncio.gather(
        *(
            (world.desk.approve if number % 2 else world.desk.deny)(
                ADMIN, asked.id, remember=Remember.ALWAYS
            )
            for number in range(50)
        ),
        return_exceptions=True,
    )

    (winner,) = [one for one in outcomes if isinstance(one, ToolApproval)]
    assert {one.code for one in outcomes if isinstance(one, HubError)} == {"request_decided"}
    assert winner == await world.stored(asked)
    assert len(await world.remembered()) == 1


async def test_the_log_says_who_decided_what_without_the_arguments(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    asked = await world.hold_back()

    with caplog.at_level(logging.INFO):
        await world.desk.approve(PERSON, asked.id, arguments={"to": "secret-person"})

    (line,) = [one for one in caplog.messages if asked.id in one]
    assert PERSON.subject in line
    assert "secret" not in caplog.text
