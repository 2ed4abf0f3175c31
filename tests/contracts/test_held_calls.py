"""What is kept of calls that wait for a person, on every storage."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from agenthub.domain.entities.hitl.held_call import HeldCall, HeldStatus
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import ConflictError, InvalidError
from agenthub.domain.ids import EndpointId, GroupId, HeldCallId, RequestId
from tests.contracts.hitl_samples import (
    FOREIGN,
    FOREIGN_WORDS,
    LATER,
    approval,
    held_call,
    left_at_default,
)
from tests.contracts.samples import ELSEWHERE, STRANGER, Store
from tests.fakes.clock import NEW_YEAR
from tests.support.waiting import soon

RIVALS = 20
FULL = held_call(
    "full",
    view_group=GroupId("G-gone"),
    view_server=EndpointId("E-gone"),
    agent=FOREIGN_WORDS,
    conversation=FOREIGN_WORDS,
    key=FOREIGN_WORDS,
    ref=FOREIGN_WORDS,
    params={FOREIGN_WORDS: json.dumps(FOREIGN), "raw": FOREIGN_WORDS, "name": "1.0"},
    meta={FOREIGN_WORDS: FOREIGN_WORDS},
    requests=(RequestId("Q-2"), RequestId("Q-1")),
    going_on=FOREIGN,
    status=HeldStatus.DONE,
    lease="this process",
    outcome=FOREIGN,
    delivered_at=NEW_YEAR + timedelta(microseconds=1),
)


async def keep(store: Store, *calls: HeldCall, by: Principal = OWNER) -> None:
    async with store.uow.begin(by) as tx:
        for one in calls:
            await tx.held_calls.put(one)
        await tx.commit()


async def save(store: Store, call: HeldCall, was: HeldCall, by: Principal = OWNER) -> bool:
    async with store.uow.begin(by) as tx:
        is_saved = await tx.held_calls.save(call, was)
        await tx.commit()
        return is_saved


async def kept(store: Store, name: str, by: Principal = OWNER) -> HeldCall | None:
    async with store.uow.read(by) as stored:
        return await stored.held_calls.get(HeldCallId(f"H-{name}"))


async def every(store: Store, by: Principal = OWNER) -> list[HeldCall]:
    async with store.uow.read(by) as stored:
        return await stored.held_calls.all()


async def test_calls_come_back_as_they_were_oldest_first(store: Store) -> None:
    bare = held_call("bare", created_at=NEW_YEAR + timedelta(seconds=1))
    empty = held_call("empty", going_on={}, outcome={}, ref="")
    await keep(store, bare, FULL, empty)
    assert await every(store) == [empty, FULL, bare]
    assert await kept(store, "full") == FULL
    assert await kept(store, "never") is None
    assert await kept(store, "no\x00body") is None


def test_a_field_that_is_new_is_kept_as_well() -> None:
    """A field at its default would come back even if it had no column."""
    assert left_at_default(FULL) == []


async def test_numbers_come_back_to_the_letter(store: Store) -> None:
    await keep(store, FULL)
    found = await kept(store, "full")
    assert found is not None
    assert json.dumps([found.going_on, found.outcome]) == json.dumps([FOREIGN, FOREIGN])


async def test_calls_of_another_workspace_do_not_exist(store: Store) -> None:
    await keep(store, held_call("a"))
    await keep(store, held_call("b", workspace=ELSEWHERE), by=STRANGER)
    assert not await save(store, held_call("a").running("mine"), held_call("a"), by=STRANGER)
    async with store.uow.begin(STRANGER) as tx:
        assert await tx.held_calls.get(HeldCallId("H-a")) is None
        await tx.held_calls.remove([HeldCallId("H-a")])
        await tx.commit()
    assert await every(store) == [held_call("a")]
    assert await every(store, by=STRANGER) == [held_call("b", workspace=ELSEWHERE)]


async def test_a_ticket_is_given_once(store: Store) -> None:
    await keep(store, FULL)
    with pytest.raises(ConflictError):
        await keep(store, held_call("full"))
    assert await every(store) == [FULL]


async def test_the_whole_life_of_a_call_is_kept(store: Store) -> None:
    waiting = held_call("a")
    await keep(store, waiting, held_call("b"))
    running = waiting.running("this process")
    again = running.asking((RequestId("Q-9"),), FOREIGN, LATER)
    done = again.running("another").done(FOREIGN, LATER + timedelta(days=1))
    delivered = replace(done, delivered_at=LATER)
    steps = [waiting, running, again, again.running("another"), done, delivered]
    for was, call in pairwise(steps):
        assert await save(store, call, was)
        assert await kept(store, "a") == call
    assert await kept(store, "b") == held_call("b")


async def test_a_move_from_another_status_or_lease_changes_nothing(store: Store) -> None:
    running = held_call("a").running("this process")
    await keep(store, running)
    done = running.done({}, LATER)
    for was in (
        held_call("a"),
        replace(running, lease=None),
        replace(running, lease="another"),
        replace(running, status=HeldStatus.DONE),
    ):
        assert not await save(store, done, was)
    assert not await save(store, held_call("never"), held_call("never"))
    assert await every(store) == [running]


async def test_one_of_many_at_once_goes_on(store: Store) -> None:
    """Each has read the call before any of them takes it."""
    await keep(store, held_call("a"))
    looked = asyncio.Barrier(RIVALS)
    winners: list[str] = []

    async def go_on(lease: str) -> None:
        was = await kept(store, "a")
        assert was is not None
        await looked.wait()
        if await save(store, was.running(lease), was):
            winners.append(lease)

    async def all_go_on() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(RIVALS):
                tasks.create_task(go_on(f"hub {number}"))

    await soon(all_go_on(), within_s=30)
    found = await kept(store, "a")
    assert found is not None
    assert winners == [found.lease]


async def test_a_call_and_its_questions_are_kept_together_or_not_at_all(store: Store) -> None:
    await keep(store, held_call("a"))
    async with store.uow.begin(OWNER) as tx:
        await tx.requests.add([approval("1")])
        await tx.held_calls.put(held_call("b"))
        with pytest.raises(InvalidError):
            await tx.held_calls.put(held_call("c", subject="no\x00body"))
    assert await every(store) == [held_call("a")]
    async with store.uow.read(OWNER) as stored:
        assert await stored.requests.open() == []


async def test_removed_calls_are_forgotten(store: Store) -> None:
    await keep(store, held_call("a"), held_call("b"), held_call("c"))
    async with store.uow.begin(OWNER) as tx:
        await tx.held_calls.remove([])
        await tx.held_calls.remove(
            {HeldCallId(f"H-{name}") for name in ("a", "c", "never", "\x00")}
        )
        await tx.commit()
    assert await every(store) == [held_call("b")]
