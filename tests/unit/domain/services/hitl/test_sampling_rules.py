"""A standing rule lets a server ask a model alone, for so much a day and no more."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from agenthub.domain.entities.cost import LARGEST_LIMIT
from agenthub.domain.entities.hitl.request import RequestStatus
from agenthub.domain.entities.hitl.rules import SamplingRule
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.event import RequestResolved
from agenthub.domain.exceptions import ConflictError, DeniedError, InvalidError, NotFoundError
from agenthub.domain.ids import DEFAULT_WORKSPACE, GroupId, RuleId
from agenthub.domain.services.hitl.sampling import SamplingDesk
from agenthub.domain.services.hitl.sampling_rules import MAX_RULES, SamplingRuleDraft
from tests.fakes.llm import OUTPUT_NANO
from tests.support.ledger_entries import budget
from tests.support.waiting import eventually, soon
from tests.unit.domain.services.hitl.asked import PERSON
from tests.unit.domain.services.hitl.sampled import COST, House

ROOMY = 10**9
ADMIN_OF_A_GROUP = Principal(DEFAULT_WORKSPACE, "K", frozenset({Scope.ADMIN}), GroupId("G1"))
READER = Principal(DEFAULT_WORKSPACE, "K", frozenset({Scope.HUB_READ}))


def draft(**changes: Any) -> SamplingRuleDraft:
    facts: dict[str, Any] = {"server": "mail", "model": "priced", "daily_nano_usd": ROOMY}
    return SamplingRuleDraft(**{**facts, **changes})


async def ruled(desk: SamplingDesk, **changes: Any) -> SamplingRule:
    return await desk.add_rule(OWNER, draft(**changes))


async def most(house: House, desk: SamplingDesk) -> int:
    """Reckon what one question of these tests may cost."""
    await house.asked(desk, "R0")
    found = await desk.estimate(PERSON, "R0", {})
    assert found.most_nano_usd is not None
    return found.most_nano_usd


async def test_a_rule_approves_without_a_person() -> None:
    house = House()
    async with house.living() as desk:
        rule = await ruled(desk)
        await desk.after_asked(await house.asked(desk))
        assert house.row().status is not RequestStatus.PENDING
        done = await house.ended()
    assert (done.status, done.rule, done.decided_by) == (
        RequestStatus.COMPLETED,
        rule.id,
        f"rule:{rule.id}",
    )
    assert done.cost_nano_usd == COST
    told = [one.facts for one in house.bus.published if one.name == RequestResolved.name]
    assert [(one["status"], one["by"]) for one in told] == [
        ("approved", f"rule:{rule.id}"),
        ("completed", f"rule:{rule.id}"),
    ]


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"server": "other"}, {}),
        ({"server": "mai"}, {}),
        ({"model": "dear"}, {}),
        ({"daily_nano_usd": 10}, {}),
        ({}, {"modelPreferences": {"hints": [{"name": "dear"}]}, "other": "dear"}),
    ],
)
async def test_what_no_rule_covers_waits_for_a_person(
    changes: dict[str, Any], asked: dict[str, Any]
) -> None:
    house = House()
    async with house.living() as desk:
        if asked.pop("other", None):
            await ruled(desk, model="dear", daily_nano_usd=10)
        await ruled(desk, **changes)
        await desk.after_asked(await house.asked(desk, **asked))
        assert house.row().status is RequestStatus.PENDING
    assert house.llm.requests == []


async def test_a_model_without_a_price_never_fits_a_rule() -> None:
    house = House(model="secret")
    async with house.living() as desk:
        await ruled(desk, model="*")
        await desk.after_asked(await house.asked(desk))
        assert house.row().status is RequestStatus.PENDING


async def test_a_hub_without_a_model_leaves_it_to_a_person() -> None:
    house = House(model=None)
    async with house.living() as desk:
        await ruled(desk, model="*")
        await desk.after_asked(await house.asked(desk))
        assert house.row().status is RequestStatus.PENDING


async def test_a_budget_without_room_leaves_it_to_a_person() -> None:
    house = House(budgets=(budget("B", 10, hard_stop=True),))
    async with house.living() as desk:
        await ruled(desk)
        await desk.after_asked(await house.asked(desk))
        assert house.row().status is RequestStatus.PENDING


async def test_hints_choose_a_model_that_a_rule_names() -> None:
    house = House()
    async with house.living() as desk:
        await ruled(desk, model="dear")
        hints = {"hints": [{"name": "DEA"}]}
        await desk.after_asked(await house.asked(desk, modelPreferences=hints))
        await house.ended()
        await desk.approve(PERSON, (await house.asked(desk, "R2", modelPreferences=hints)).id, {})
        await house.ended("R2")
    assert [one.model for one in house.llm.requests] == ["dear", "dear"]


async def test_a_rule_may_limit_the_answer() -> None:
    house = House()
    async with house.living() as desk:
        await ruled(desk, max_tokens=5)
        await desk.after_asked(await house.asked(desk))
        await house.ended()
    assert house.llm.requests[0].max_tokens == 5


async def test_the_amount_of_a_day_holds_for_questions_at_once() -> None:
    house = House()
    house.llm.gate.clear()
    async with house.living() as desk:
        each = await most(house, desk)
        await ruled(desk, daily_nano_usd=3 * each + each // 2)
        names = [f"Q{number}" for number in range(10)]
        asked = [await house.asked(desk, name) for name in names]
        await soon(asyncio.gather(*(desk.after_asked(one) for one in asked)))
        let_pass = [one for one in names if house.row(one).status is not RequestStatus.PENDING]
        assert len(let_pass) == 3
        house.llm.gate.set()
        for name in let_pass:
            await house.ended(name)
    assert len(house.llm.requests) == 3


async def test_what_was_spent_is_what_it_cost_and_a_new_day_begins_anew() -> None:
    house = House()
    async with house.living() as desk:
        each = await most(house, desk)
        assert each > COST + OUTPUT_NANO
        await ruled(desk, daily_nano_usd=each + COST)
        statuses: list[bool] = []
        for name in ("Q1", "Q2", "Q3", "Q4"):
            if name == "Q4":
                house.clock.advance(24 * 3_600)
            await desk.after_asked(await house.asked(desk, name))
            passed = house.row(name).status is not RequestStatus.PENDING
            statuses.append(passed)
            if passed:
                await house.ended(name)
    assert statuses == [True, True, False, True]


async def test_a_revoked_rule_lets_nothing_pass_and_stays_in_the_record() -> None:
    house = House()
    async with house.living() as desk:
        rule = await ruled(desk)
        house.clock.advance(1)
        await desk.revoke_rule(OWNER, rule.id)
        await desk.after_asked(await house.asked(desk))
        assert house.row().status is RequestStatus.PENDING
        assert await desk.rules(OWNER) == []
        (kept,) = await desk.rules(READER, with_revoked=True)
        assert (kept.revoked_by, kept.revoked_at) == (OWNER.subject, house.clock.now())
        with pytest.raises(NotFoundError):
            await desk.revoke_rule(OWNER, rule.id)


async def test_a_person_who_was_faster_wins_over_a_rule() -> None:
    house = House()
    async with house.living() as desk:
        await ruled(desk)
        request = await house.asked(desk)
        await desk.reject(PERSON, "R1", "no")
        await desk.after_asked(request)
        await eventually(lambda: house.row().status is RequestStatus.REJECTED)
    assert house.llm.requests == []


@pytest.mark.parametrize(
    "changes",
    [
        {"daily_nano_usd": 0},
        {"daily_nano_usd": LARGEST_LIMIT + 1},
        {"server": "x" * 300},
        {"model": "x" * 300},
        {"max_tokens": 0},
    ],
)
async def test_a_rule_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    async with House().living() as desk:
        with pytest.raises(InvalidError) as caught:
            await ruled(desk, **changes)
    assert caught.value.faults[0].loc == (next(iter(changes)),)


async def test_only_an_admin_of_the_whole_hub_makes_rules() -> None:
    async with House().living() as desk:
        rule = await ruled(desk)
        for principal in (PERSON, READER, ADMIN_OF_A_GROUP):
            with pytest.raises(DeniedError):
                await desk.add_rule(principal, draft())
            with pytest.raises(DeniedError):
                await desk.revoke_rule(principal, rule.id)
        for principal in (PERSON, ADMIN_OF_A_GROUP):
            with pytest.raises(DeniedError):
                await desk.rules(principal)
        assert await desk.rules(READER) == [rule]


async def test_rules_are_bounded_in_number() -> None:
    house = House()
    async with house.living() as desk:
        rule = await ruled(desk)
        kept = house.uow.rows[DEFAULT_WORKSPACE].hitl.sampling
        kept |= {each: replace(rule, id=each) for each in map(RuleId, map(str, range(MAX_RULES)))}
        with pytest.raises(ConflictError) as caught:
            await ruled(desk)
    assert caught.value.code == "too_many_rules"


async def test_an_answer_whose_cost_nobody_knows_counts_as_the_most_it_can_cost() -> None:
    house = House()
    async with house.living() as desk:
        begun = replace(
            (await house.asked(desk)).approved("rule:R", {}, house.clock.now(), RuleId("R")),
            lease="this hub",
            reserved_nano_usd=7,
        )
    answered = begun.answered({}, None, None, house.clock.now())
    assert (answered.reserved_nano_usd, answered.cost_nano_usd) == (7, None)
    assert begun.answered({}, None, 3, house.clock.now()).reserved_nano_usd == 0
