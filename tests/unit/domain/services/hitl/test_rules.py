"""Approval policies: kept, listed, changed and revoked, with a record of each."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from agenthub.domain.entities.hitl.rules import ApprovalPolicy, PolicyAction, ToolUse
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.exceptions import (
    ConflictError,
    DeniedError,
    HubError,
    InvalidError,
    NotFoundError,
)
from agenthub.domain.ids import GroupId
from agenthub.domain.services.hitl.rules import (
    MAX_FOR_CONVERSATIONS,
    MAX_POLICIES,
    ApprovalPolicies,
    PolicyDraft,
    PolicyPatch,
)
from tests.fakes.clock import FakeClock, FakeIdFactory
from tests.fakes.storage import FakeUnitOfWork

ADMIN = Principal(OWNER.workspace, "KEY-OF-ADA", frozenset({Scope.ADMIN}))
USE = ToolUse(server="mail", tool="send", annotations={}, arguments={}, subject="K1")


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.uow = FakeUnitOfWork(clock=self.clock)
        self.ids = FakeIdFactory()
        self.policies = self.hub()

    def hub(self) -> ApprovalPolicies:
        return ApprovalPolicies(clock=self.clock, ids=self.ids, uow=self.uow)

    async def create(self, name: str = "ask", **changes: Any) -> ApprovalPolicy:
        facts: dict[str, Any] = {"name": name, "action": PolicyAction.ASK, "tool": "send"}
        return await self.policies.create(OWNER, PolicyDraft(**{**facts, **changes}))


@pytest.fixture
def world() -> World:
    return World()


async def test_a_new_policy_stands_at_once_and_says_who_made_it(world: World) -> None:
    assert not world.policies.holds_back

    made = await world.create()

    assert (made.created_by, made.created_at) == ("owner", world.clock.now())
    assert world.policies.holds_back
    assert world.policies.decide(USE) == made


async def test_policies_that_only_allow_hold_nothing_back(world: World) -> None:
    await world.create(action=PolicyAction.ALLOW)
    await world.create(enabled=False)

    assert not world.policies.holds_back


async def test_policies_stand_again_after_a_restart(world: World) -> None:
    made = await world.create()
    restarted = world.hub()

    await restarted.load()

    assert restarted.decide(USE) == made


async def test_a_policy_that_breaks_a_rule_is_not_kept(world: World) -> None:
    with pytest.raises(InvalidError):
        await world.create("")

    assert await world.policies.all(OWNER) == []


async def test_a_change_stands_at_once_and_leaves_what_was_in_the_record(world: World) -> None:
    made = await world.create()
    world.clock.advance(60)

    changed = await world.policies.change(ADMIN, made.id, PolicyPatch(action=PolicyAction.DENY))

    assert changed == replace(made, action=PolicyAction.DENY)
    assert world.policies.decide(USE) == changed
    assert await world.policies.all(OWNER) == [changed]
    record = await world.policies.all(OWNER, with_revoked=True)
    (former,) = [one for one in record if one.id != made.id]
    assert former == replace(
        made,
        id=former.id,
        source=made.id,
        revoked_at=world.clock.now(),
        revoked_by=ADMIN.subject,
    )


async def test_a_change_of_nothing_leaves_no_trace(world: World) -> None:
    made = await world.create()

    assert await world.policies.change(OWNER, made.id, PolicyPatch(name=made.name)) == made
    assert await world.policies.all(OWNER, with_revoked=True) == [made]


async def test_a_change_to_what_breaks_a_rule_changes_nothing(world: World) -> None:
    made = await world.create()

    with pytest.raises(InvalidError):
        await world.policies.change(OWNER, made.id, PolicyPatch(name="", tool="read"))

    assert await world.policies.all(OWNER, with_revoked=True) == [made]
    assert world.policies.decide(USE) == made


async def test_a_revoked_policy_stands_no_more_and_says_who_revoked_it(world: World) -> None:
    made = await world.create()

    await world.policies.revoke(ADMIN, made.id)

    kept = await world.policies.get(OWNER, made.id)
    assert (kept.revoked_by, kept.revoked_at) == (ADMIN.subject, world.clock.now())
    assert world.policies.decide(USE) is None
    assert not world.policies.holds_back
    assert await world.policies.all(OWNER) == []


async def test_what_is_revoked_or_unknown_cannot_be_changed_or_revoked(world: World) -> None:
    made = await world.create()
    await world.policies.revoke(OWNER, made.id)

    for policy_id in (made.id, "unknown"):
        for attempt in (
            world.policies.change(OWNER, policy_id, PolicyPatch(name="again")),
            world.policies.revoke(OWNER, policy_id),
        ):
            with pytest.raises(NotFoundError) as refused:
                await attempt
            assert refused.value.code == "policy_not_found"


Deed = Callable[[ApprovalPolicies, Principal, str], Awaitable[object]]

READS: tuple[Deed, ...] = (
    lambda policies, principal, _: policies.all(principal),
    lambda policies, principal, policy_id: policies.get(principal, policy_id),
)
WRITES: tuple[Deed, ...] = (
    lambda policies, principal, _: policies.create(
        principal, PolicyDraft(name="mine", action=PolicyAction.ALLOW)
    ),
    lambda policies, principal, policy_id: policies.change(
        principal, policy_id, PolicyPatch(enabled=False)
    ),
    lambda policies, principal, policy_id: policies.revoke(principal, policy_id),
)


@pytest.mark.parametrize(
    ("deeds", "scopes", "group"),
    [
        (READS, {Scope.HITL_ANSWER, Scope.TOOLS_CALL}, None),
        (READS, {Scope.HUB_READ}, GroupId("G1")),
        (WRITES, {Scope.HUB_READ, Scope.HUB_WRITE, Scope.HITL_ANSWER}, None),
        (WRITES, {Scope.ADMIN}, GroupId("G1")),
    ],
)
async def test_readers_of_the_hub_look_and_admins_alone_change(
    world: World, deeds: tuple[Deed, ...], scopes: set[Scope], group: GroupId | None
) -> None:
    made = await world.create()
    principal = Principal(OWNER.workspace, "K1", frozenset(scopes), group)

    for deed in deeds:
        with pytest.raises(DeniedError):
            await deed(world.policies, principal, made.id)

    assert await world.policies.all(OWNER, with_revoked=True) == [made]


async def test_there_is_an_end_to_policies(world: World) -> None:
    made = await world.create()
    rows = world.uow.rows[OWNER.workspace].hitl.policies
    copies = [replace(made, id=world.policies.new_id()) for _ in range(MAX_POLICIES - 1)]
    rows.update({copy.id: copy for copy in copies})

    with pytest.raises(ConflictError) as refused:
        await world.create("one too many")

    assert refused.value.code == "too_many_policies"


async def test_the_oldest_words_for_a_conversation_end_by_themselves(world: World) -> None:
    made = await world.create()
    rows = world.uow.rows[OWNER.workspace].hitl.policies
    copies = [
        replace(made, id=world.policies.new_id(), conversation=f"C{number}")
        for number in range(MAX_FOR_CONVERSATIONS)
    ]
    rows.update({copy.id: copy for copy in copies})
    fresh = replace(made, id=world.policies.new_id(), conversation="C-new", created_by="K2")

    async with world.uow.begin(OWNER) as tx:
        world.policies.use(await world.policies.add(tx, fresh))
        await tx.commit()

    kept = await world.policies.all(OWNER)
    assert len(kept) == MAX_FOR_CONVERSATIONS + 1
    assert copies[0].id not in {one.id for one in kept}
    assert {made.id, fresh.id} <= {one.id for one in kept}


async def test_news_that_come_late_do_not_undo_later_ones(world: World) -> None:
    made = await world.create(action=PolicyAction.DENY)
    other = replace(made, id=world.policies.new_id())
    async with world.uow.begin(OWNER) as tx:
        late = await world.policies.add(tx, other)
        await tx.commit()
    latest = await world.create("later", priority=9)

    world.policies.use(late)

    assert world.policies.decide(USE) == latest


async def test_of_parallel_changes_memory_and_store_say_the_same(world: World) -> None:
    made = await world.create()

    outcomes = await asyncio.gather(
        *(
            world.policies.change(OWNER, made.id, PolicyPatch(priority=number))
            for number in range(1, 9)
        ),
        world.policies.revoke(OWNER, made.id),
        world.create("other", priority=100),
        return_exceptions=True,
    )

    assert all(not isinstance(one, BaseException) or isinstance(one, HubError) for one in outcomes)
    (kept,) = await world.policies.all(OWNER)
    assert world.policies.decide(USE) == kept
