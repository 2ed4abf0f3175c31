"""What is kept of questions to people, on every storage."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from agenthub.adapters.outbound.storage.engine import Database
from agenthub.adapters.outbound.storage.hitl_requests import SqlRequestRepository
from agenthub.domain.entities.hitl.elicitation_request import Action, ElicitationRequest
from agenthub.domain.entities.hitl.request import OPEN, HitlRequest, RequestKind, RequestStatus
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import ConflictError, InvalidError
from agenthub.domain.ids import (
    DEFAULT_WORKSPACE,
    EntryId,
    GroupId,
    RequestId,
    RuleId,
)
from agenthub.domain.ports.outbound.storage.hitl import RequestRepository
from tests.contracts.hitl_samples import (
    FOREIGN,
    FOREIGN_WORDS,
    LATER,
    approval,
    elicitation,
    in_review,
    left_at_default,
    origin,
    sampling,
)
from tests.contracts.samples import ELSEWHERE, STRANGER, Store, endpoint, group
from tests.fakes.clock import NEW_YEAR
from tests.support.waiting import soon

SECOND = timedelta(seconds=1)
RIVALS = 20
RULE = RuleId("R-1")
EVERYTHING: dict[str, Any] = {
    "key": FOREIGN_WORDS,
    "shown": FOREIGN,
    "decision": FOREIGN,
    "result": FOREIGN,
    "reason": FOREIGN_WORDS,
    "status": RequestStatus.FAILED,
    "decided_at": NEW_YEAR + timedelta(microseconds=1),
    "decided_by": "rule:R-1",
    "ended_at": LATER,
    "lease": "this process",
}


async def keep(store: Store, *requests: HitlRequest, by: Principal = OWNER) -> None:
    async with store.uow.begin(by) as tx:
        await tx.requests.add(requests)
        await tx.commit()


async def save(store: Store, request: HitlRequest, was: HitlRequest, by: Principal = OWNER) -> bool:
    async with store.uow.begin(by) as tx:
        is_saved = await tx.requests.save(request, was)
        await tx.commit()
        return is_saved


async def kept(store: Store, name: str, by: Principal = OWNER) -> HitlRequest | None:
    async with store.uow.read(by) as stored:
        return await stored.requests.get(RequestId(f"Q-{name}"))


def names(requests: list[HitlRequest]) -> list[str]:
    return [each.id.removeprefix("Q-") for each in requests]


FULL: list[HitlRequest] = [
    elicitation("full", **EVERYTHING),
    approval("full", **EVERYTHING, policy=RuleId("P-1")),
    sampling(
        "full",
        **EVERYTHING,
        rule=RULE,
        entry=EntryId("L-1"),
        reserved_nano_usd=2**62,
        cost_nano_usd=2**62,
    ),
]


@pytest.mark.parametrize(
    "request_",
    [
        *FULL,
        sampling("bare"),
        elicitation("bare", origin=origin(group=None)),
        approval("bare"),
        sampling("free", cost_nano_usd=0, decision={}, result={}),
    ],
    ids=lambda one: f"{one.KIND}-{one.id}",
)
async def test_questions_come_back_as_they_were(store: Store, request_: HitlRequest) -> None:
    await keep(store, request_)
    async with store.uow.read(OWNER) as stored:
        found = await stored.requests.get(request_.id)
    assert found == request_
    assert type(found) is type(request_)


@pytest.mark.parametrize("full", FULL, ids=lambda one: one.KIND.value)
def test_a_field_that_is_new_is_kept_as_well(full: HitlRequest) -> None:
    """A field at its default would come back even if it had no column."""
    assert left_at_default(full) == []
    assert left_at_default(full.origin) == []


async def test_numbers_and_the_order_of_members_come_back_to_the_letter(store: Store) -> None:
    await keep(store, elicitation("a", shown=FOREIGN))
    found = await kept(store, "a")
    assert found is not None
    assert json.dumps(found.shown) == json.dumps(FOREIGN)


async def test_questions_of_another_workspace_do_not_exist(store: Store) -> None:
    await keep(store, sampling("a"))
    await keep(store, sampling("b", workspace=ELSEWHERE), by=STRANGER)
    moved = replace(sampling("a"), status=RequestStatus.REJECTED, ended_at=NEW_YEAR)
    assert not await save(store, moved, sampling("a"), by=STRANGER)
    async with store.uow.begin(STRANGER) as tx:
        assert names(await tx.requests.many([RequestId("Q-a"), RequestId("Q-b")])) == ["b"]
        assert names(await tx.requests.page(RequestKind.SAMPLING, limit=9)) == ["b"]
        assert names(await tx.requests.open()) == ["b"]
        assert names(await tx.requests.due(LATER, limit=9)) == ["b"]
        assert await tx.requests.count_pending() == 1
        await tx.commit()
    assert await kept(store, "a") == sampling("a")
    assert await kept(store, "a", by=STRANGER) is None


async def test_a_question_outlives_its_server_and_its_group(store: Store) -> None:
    await store.keep(endpoint("gone"), group("ops", ["gone"]))
    await keep(store, sampling("a"))
    async with store.uow.begin(OWNER) as tx:
        await tx.endpoints.remove(endpoint("gone").id)
        await tx.groups.remove(GroupId("G-ops"))
        await tx.commit()
    assert await kept(store, "a") == sampling("a")


async def test_many_gives_those_that_there_are(store: Store) -> None:
    await keep(store, sampling("a"), approval("b"), elicitation("c"))
    async with store.uow.read(OWNER) as stored:
        ids = [RequestId(f"Q-{name}") for name in ("c", "never", "a", "a", "\x00", "\ud800")]
        assert sorted(names(await stored.requests.many(ids))) == ["a", "c"]
        assert await stored.requests.many([]) == []
        assert await stored.requests.get(RequestId("no\x00body")) is None


async def test_pending_gives_the_ids_of_what_nobody_decided(store: Store) -> None:
    await keep(store, sampling("a"), approval("b"), elicitation("c"))
    was = approval("b")
    async with store.uow.begin(OWNER) as tx:
        assert await tx.requests.save(was.approved("anna", {}, NEW_YEAR), was)
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        assert await stored.requests.pending() == {sampling("a").id, elicitation("c").id}


async def test_an_id_is_taken_once(store: Store) -> None:
    await keep(store, sampling("a"))
    with pytest.raises(ConflictError):
        await keep(store, elicitation("b"), elicitation("a"))
    assert await kept(store, "a") == sampling("a")
    assert await kept(store, "b") is None


async def test_what_was_not_committed_is_forgotten(store: Store) -> None:
    await keep(store, sampling("a"))
    async with store.uow.begin(OWNER) as tx:
        await tx.requests.add([sampling("b")])
        assert await tx.requests.save(sampling("a").failed("no", NEW_YEAR), sampling("a"))
    assert await kept(store, "a") == sampling("a")
    assert await kept(store, "b") is None


async def test_own_words_with_what_no_database_keeps_are_refused(store: Store) -> None:
    await keep(store, sampling("a"))
    async with store.uow.begin(OWNER) as tx:
        with pytest.raises(InvalidError):
            await tx.requests.save(replace(sampling("a"), decided_by="\x00"), sampling("a"))
        with pytest.raises(InvalidError):
            await tx.requests.page(RequestKind.SAMPLING, before=RequestId("\ud800"), limit=1)
        await tx.requests.add([sampling("b")])
        await tx.commit()
    assert await kept(store, "a") == sampling("a")


MOVES: list[Callable[[str], HitlRequest]] = [
    lambda by: elicitation("a").answered(by, Action.ACCEPT, FOREIGN, NEW_YEAR),
    lambda _: elicitation("a").failed(FOREIGN_WORDS, NEW_YEAR),
    lambda _: elicitation("a").expired(LATER),
]


@pytest.mark.parametrize("move", MOVES)
async def test_a_move_replaces_the_question_it_was_made_from(
    store: Store, move: Callable[[str], HitlRequest]
) -> None:
    await keep(store, elicitation("a"), elicitation("b"))
    moved = move("owner")
    assert await save(store, moved, elicitation("a"))
    assert await kept(store, "a") == moved
    assert await kept(store, "b") == elicitation("b")
    assert not await save(store, elicitation("a"), elicitation("a"))
    assert await kept(store, "a") == moved


async def test_a_move_from_another_status_or_lease_changes_nothing(store: Store) -> None:
    now = sampling("a").approved("owner", {}, NEW_YEAR).begun("this process")
    await keep(store, now)
    next_one = now.answered({"model": "m"}, None, None, NEW_YEAR)
    for was in (
        sampling("a"),
        replace(now, lease=None),
        replace(now, lease="another"),
        replace(now, lease=""),
        replace(now, status=RequestStatus.PENDING),
    ):
        assert not await save(store, next_one, was)
    assert not await save(store, sampling("never"), sampling("never"))
    assert await kept(store, "a") == now
    assert await save(store, next_one, now)
    assert await kept(store, "a") == next_one


async def test_one_of_many_at_once_wins(store: Store) -> None:
    """Each has read the question before any of them saves."""
    await keep(store, elicitation("a"))
    looked = asyncio.Barrier(RIVALS)
    winners: list[str] = []

    async def decide(by: str) -> None:
        was = await kept(store, "a")
        assert isinstance(was, ElicitationRequest)
        await looked.wait()
        if await save(store, was.answered(by, Action.DECLINE, None, NEW_YEAR), was):
            winners.append(by)

    async def all_decide() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(RIVALS):
                tasks.create_task(decide(f"key:{number}"))

    await soon(all_decide(), within_s=30)
    found = await kept(store, "a")
    assert found is not None
    assert winners == [found.decided_by]


async def _paged(requests: RequestRepository, **filters: Any) -> list[str]:
    return names(await requests.page(RequestKind.SAMPLING, **{"limit": 99, **filters}))


async def test_pages_go_back_in_time_and_filter(store: Store) -> None:
    await keep(
        store,
        sampling("1"),
        in_review("2", origin=origin("G-dev")),
        elicitation("3"),
        sampling("4").failed("no", NEW_YEAR),
        sampling("5", origin=origin(None)),
        sampling("é"),
    )
    pending, failed = RequestStatus.PENDING, RequestStatus.FAILED
    async with store.uow.read(OWNER) as stored:
        requests = stored.requests
        assert await _paged(requests) == ["é", "5", "4", "2", "1"]
        assert await _paged(requests, limit=2) == ["é", "5"]
        assert await _paged(requests, limit=2, before="Q-5") == ["4", "2"]
        assert await _paged(requests, before="Q-1") == []
        assert await _paged(requests, statuses={pending}) == ["é", "5", "1"]
        assert await _paged(requests, statuses=[pending, failed], limit=3) == ["é", "5", "4"]
        assert await _paged(requests, statuses=OPEN) == ["é", "5", "2", "1"]
        assert await _paged(requests, statuses=OPEN, before="Q-é", limit=2) == ["5", "2"]
        assert await _paged(requests, statuses=OPEN, group="G-dev") == ["2"]
        assert await _paged(requests, group="G-ops") == ["é", "4", "1"]
        assert await _paged(requests, group="G-ops", statuses={failed}) == ["4"]
        assert await _paged(requests, group="G-none") == []
        assert names(await requests.page(RequestKind.ELICITATION, limit=9)) == ["3"]
        assert await requests.page(RequestKind.APPROVAL, limit=9) == []


async def test_the_open_ones_are_listed_oldest_first_and_the_pending_ones_counted(
    store: Store,
) -> None:
    async with store.uow.read(OWNER) as stored:
        assert await stored.requests.open() == []
        assert await stored.requests.count_pending() == 0
    await keep(
        store,
        sampling("1", created_at=NEW_YEAR + SECOND),
        approval("2").approved("owner", {}, NEW_YEAR),
        elicitation("3").answered("owner", Action.CANCEL, None, NEW_YEAR),
        in_review("4"),
        elicitation("5").expired(LATER),
        elicitation("6"),
    )
    async with store.uow.read(OWNER) as stored:
        assert names(await stored.requests.open()) == ["2", "4", "6", "1"]
        assert await stored.requests.count_pending() == 2


async def test_those_that_wait_for_a_person_are_due_when_their_time_is_over(store: Store) -> None:
    under_way = sampling("1").approved("owner", {}, NEW_YEAR).begun("this process")
    await keep(
        store,
        under_way,
        sampling("2", expires_at=LATER + SECOND),
        in_review("3", expires_at=LATER - SECOND),
        approval("4").approved("owner", {}, NEW_YEAR),
        elicitation("5").expired(LATER),
        elicitation("6"),
        approval("7", expires_at=LATER - 2 * SECOND),
        approval("8"),
    )
    async with store.uow.read(OWNER) as stored:
        assert names(await stored.requests.due(LATER, limit=99)) == ["7", "3", "6", "8"]
        assert names(await stored.requests.due(LATER, limit=2)) == ["7", "3"]
        early = LATER - timedelta(microseconds=1)
        assert names(await stored.requests.due(early, limit=99)) == ["7", "3"]
        for one in await stored.requests.due(LATER, limit=99):
            assert not one.expired(LATER).is_open


async def test_a_rule_has_spent_what_its_questions_cost_or_may_cost_yet(store: Store) -> None:
    by_rule: dict[str, Any] = {"rule": RULE, "decided_at": NEW_YEAR}
    await keep(
        store,
        sampling("1", **by_rule, reserved_nano_usd=10**15),
        sampling("2", **by_rule, cost_nano_usd=20),
        sampling("3", **by_rule, cost_nano_usd=300, reserved_nano_usd=4_000),
        sampling("4", rule=RULE, decided_at=NEW_YEAR - SECOND, cost_nano_usd=10**6),
        sampling("5", rule=RuleId("R-2"), decided_at=NEW_YEAR, cost_nano_usd=10**7),
        sampling("6", decided_at=NEW_YEAR, cost_nano_usd=10**8),
        sampling("7", rule=RULE, reserved_nano_usd=10**9),
        sampling("8", **by_rule),
        elicitation("9"),
    )
    await keep(store, sampling("1", **by_rule, cost_nano_usd=5), by=STRANGER)
    async with store.uow.read(OWNER) as stored:
        spent = await stored.requests.spent_nano_usd(RULE, NEW_YEAR)
        assert spent == 10**15 + 4_320
        assert type(spent) is int
        assert await stored.requests.spent_nano_usd(RULE, NEW_YEAR + SECOND) == 0
        assert await stored.requests.spent_nano_usd(RuleId("R-never"), NEW_YEAR) == 0


async def test_old_ones_that_ended_are_forgotten_the_oldest_first(store: Store) -> None:
    ended = [sampling(str(n)).failed("no", NEW_YEAR + n * SECOND) for n in (3, 1, 2)]
    await keep(store, *ended, sampling("0"), in_review("r"))
    await keep(store, sampling("1").failed("no", NEW_YEAR), by=STRANGER)
    async with store.uow.begin(OWNER) as tx:
        assert await tx.requests.prune(NEW_YEAR + SECOND, limit=99) == 0
        assert await tx.requests.prune(NEW_YEAR + 3 * SECOND, limit=1) == 1
        assert names(await tx.requests.page(RequestKind.SAMPLING, limit=9)) == ["r", "3", "2", "0"]
        assert await tx.requests.prune(NEW_YEAR + 3 * SECOND, limit=99) == 1
        assert names(await tx.requests.page(RequestKind.SAMPLING, limit=9)) == ["r", "3", "0"]
        await tx.commit()
    assert await kept(store, "1", by=STRANGER) is not None


async def _used_indexes(url: str, look: Callable[[RequestRepository], Awaitable[Any]]) -> set[str]:
    """Ask SQLite which indexes it takes for what a repository asks it."""
    asked: list[tuple[Any, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked.append((statement, parameters))

    async with Database(url=url) as database, database.writing(DEFAULT_WORKSPACE) as connection:
        event.listen(connection.sync_connection, "before_cursor_execute", note)
        await look(SqlRequestRepository(connection, DEFAULT_WORKSPACE))
        statement, parameters = asked[-1]
        plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return set(re.findall(r"ix_hitl_requests_(\w+)", str(plan.all())))


@pytest.mark.parametrize(
    ("index", "look"),
    [
        ("kind", lambda all_: all_.page(RequestKind.SAMPLING, before=RequestId("Q-9"), limit=9)),
        ("open", lambda all_: all_.page(RequestKind.SAMPLING, statuses=OPEN, limit=9)),
        ("open", lambda all_: all_.open()),
        ("open", lambda all_: all_.count_pending()),
        ("open", lambda all_: all_.due(NEW_YEAR, limit=9)),
        ("rule", lambda all_: all_.spent_nano_usd(RULE, NEW_YEAR)),
        ("ended", lambda all_: all_.prune(NEW_YEAR, limit=9)),
    ],
)
async def test_each_look_has_an_index(
    tmp_path: Path, index: str, look: Callable[[RequestRepository], Awaitable[Any]]
) -> None:
    assert await _used_indexes(f"sqlite:///{tmp_path / 'hub.db'}", look) == {index}
