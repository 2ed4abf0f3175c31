"""What is kept of people's standing answers, on every storage."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agenthub.domain.entities.hitl.rules import (
    ApprovalPolicy,
    ArgumentCondition,
    Comparison,
    PolicyAction,
    SamplingRule,
)
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import InvalidError
from tests.contracts.hitl_samples import (
    FOREIGN,
    FOREIGN_WORDS,
    LATER,
    left_at_default,
    policy,
    sampling_rule,
)
from tests.contracts.samples import ELSEWHERE, STRANGER, Store
from tests.fakes.clock import NEW_YEAR

FULL = policy(
    "né ☃",
    action=PolicyAction.DENY,
    server="mail*",
    tool="send_?",
    annotations={"destructiveHint": True, "readOnlyHint": False},
    arguments=tuple(
        ArgumentCondition(path=FOREIGN_WORDS, comparison=comparison, value=value)
        for comparison, value in zip(
            Comparison, (1.0, FOREIGN, "*@example.com", None, 10**30, -0.5, True), strict=True
        )
    ),
    callers=("owner", "key:K-1"),
    conversation=FOREIGN_WORDS,
    priority=-(2**40),
    enabled=False,
    source="Q-1",
    revoked_at=LATER,
    revoked_by="owner",
)
SPARING = sampling_rule(
    "sparing", daily_nano_usd=2**62, max_tokens=2**40, revoked_at=LATER, revoked_by="key:K-1"
)


async def put(store: Store, *rules: ApprovalPolicy | SamplingRule, by: Principal = OWNER) -> None:
    async with store.uow.begin(by) as tx:
        for one in rules:
            match one:
                case ApprovalPolicy():
                    await tx.rules.put_policy(one)
                case SamplingRule():
                    await tx.rules.put_sampling(one)
        await tx.commit()


async def policies(store: Store, by: Principal = OWNER) -> list[ApprovalPolicy]:
    async with store.uow.read(by) as stored:
        return await stored.rules.policies(with_revoked=True)


async def sampling(store: Store, by: Principal = OWNER) -> list[SamplingRule]:
    async with store.uow.read(by) as stored:
        return await stored.rules.sampling(with_revoked=True)


async def test_rules_come_back_as_they_were_oldest_first(store: Store) -> None:
    later = NEW_YEAR + timedelta(microseconds=1)
    young, young_rule = policy("a", created_at=later), sampling_rule("a", created_at=later)
    await put(store, young, FULL, young_rule, SPARING, policy("z"))
    assert await policies(store) == [FULL, policy("z"), young]
    assert await sampling(store) == [SPARING, young_rule]
    found = (await policies(store))[0].arguments
    assert [repr(one.value) for one in found] == [repr(one.value) for one in FULL.arguments]


@pytest.mark.parametrize("full", [FULL, SPARING], ids=["policy", "sampling"])
def test_a_field_that_is_new_is_kept_as_well(full: ApprovalPolicy | SamplingRule) -> None:
    """A field at its default would come back even if it had no column."""
    assert left_at_default(full) == []


async def test_a_rule_replaces_the_one_of_its_id(store: Store) -> None:
    await put(store, policy("a"), policy("b"), sampling_rule("a"), sampling_rule("b"))
    changed = replace(FULL, id=policy("a").id)
    changed_rule = replace(SPARING, id=sampling_rule("a").id)
    await put(store, changed, changed_rule)
    assert await policies(store) == [changed, policy("b")]
    assert await sampling(store) == [changed_rule, sampling_rule("b")]


async def test_revoked_rules_are_listed_on_request_only(store: Store) -> None:
    await put(store, FULL, policy("a"), policy("off", enabled=False), SPARING, sampling_rule("a"))
    async with store.uow.read(OWNER) as stored:
        assert await stored.rules.policies() == [policy("a"), policy("off", enabled=False)]
        assert await stored.rules.sampling() == [sampling_rule("a")]
        assert len(await stored.rules.policies(with_revoked=True)) == 3
        assert len(await stored.rules.sampling(with_revoked=True)) == 2


async def test_rules_of_another_workspace_do_not_exist(store: Store) -> None:
    await put(store, policy("a"), sampling_rule("a"))
    theirs = policy("a", workspace=ELSEWHERE, action=PolicyAction.ALLOW)
    their_rule = sampling_rule("a", workspace=ELSEWHERE, model="small")
    await put(store, theirs, their_rule, by=STRANGER)
    assert await policies(store) == [policy("a")]
    assert await policies(store, by=STRANGER) == [theirs]
    assert await sampling(store) == [sampling_rule("a")]
    assert await sampling(store, by=STRANGER) == [their_rule]


@pytest.mark.parametrize("text", ["no\x00body", "no\ud800body"])
async def test_own_words_with_what_no_database_keeps_are_refused(store: Store, text: str) -> None:
    async with store.uow.begin(OWNER) as tx:
        for name in ("name", "server", "tool", "created_by", "source"):
            with pytest.raises(InvalidError):
                await tx.rules.put_policy(replace(policy("a"), **{name: text}))
        for name in ("server", "model", "created_by", "revoked_by"):
            with pytest.raises(InvalidError):
                await tx.rules.put_sampling(replace(sampling_rule("a"), **{name: text}))
        await tx.rules.put_policy(policy("b"))
        await tx.commit()
    assert await policies(store) == [policy("b")]
    assert await sampling(store) == []
