import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.entities.resilience.policy import Balancing
from agenthub.domain.entities.routing.balancer import Balancer, Candidate
from agenthub.domain.ids import EndpointId, InstanceId

BALANCINGS = st.sampled_from(Balancing)


def candidate(name: str, **changes: int) -> Candidate:
    one = Candidate(_id(name), weight=1, priority=0, outstanding=0, usable=True)
    return replace(one, **changes)


def _id(name: str) -> InstanceId:
    return InstanceId(EndpointId(name))


def balancer(
    balancing: Balancing,
    *,
    panic_share: float = 0.5,
    seed: int = 1,
    draws: list[float] | None = None,
) -> Balancer:
    chance = random.Random(seed).random if draws is None else iter(draws).__next__
    return Balancer(balancing, panic_share=panic_share, chance=chance)


def firsts(of: Balancer, candidates: list[Candidate], picks: int) -> list[str]:
    return [of.order(candidates)[0] for _ in range(picks)]


POOLS = st.lists(
    st.builds(
        lambda weight, priority, outstanding, usable: (weight, priority, outstanding, usable),
        st.integers(1, 1000),
        st.integers(0, 3),
        st.integers(0, 50),
        st.booleans(),
    ),
    max_size=8,
).map(lambda rows: [Candidate(_id(f"i{index}"), *row) for index, row in enumerate(rows)])


def is_panic(pool: list[Candidate], share: float) -> bool:
    """Say it anew: few are usable in all, and in each priority by itself."""
    parts = [pool] + [[o for o in pool if o.priority == p] for p in {o.priority for o in pool}]
    poor = [len([o for o in part if o.usable]) < share * len(part) for part in parts]
    return len(pool) >= 3 and all(poor)


@given(BALANCINGS, st.floats(0, 1), st.lists(POOLS, min_size=1, max_size=4), st.integers())
def test_order_holds_every_usable_one_once_and_no_other_outside_panic(
    balancing: Balancing, share: float, pools: list[list[Candidate]], seed: int
) -> None:
    own = balancer(balancing, panic_share=share, seed=seed)
    for pool in pools:
        order = own.order(pool)
        used = pool if is_panic(pool, share) else [one for one in pool if one.usable]
        assert sorted(order) == sorted(one.id for one in used)
        priority = {one.id: one.priority for one in pool}
        assert [priority[one] for one in order] == sorted(priority[one] for one in order)


@given(BALANCINGS, POOLS, st.integers(0, 9), st.integers())
def test_sticky_one_comes_first_exactly_while_it_is_usable(
    balancing: Balancing, pool: list[Candidate], index: int, seed: int
) -> None:
    own, sticky = balancer(balancing, seed=seed, panic_share=0.0), _id(f"i{index}")
    order = own.order(pool, sticky)
    usable = [one.id for one in pool if one.usable]
    assert sorted(order) == sorted(usable)
    assert sticky not in usable or order[0] == sticky


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.integers(1, 5))
def test_smooth_weights_are_exact_over_each_whole_round(weights: list[int], rounds: int) -> None:
    pool = [candidate(f"i{index}", weight=weight) for index, weight in enumerate(weights)]
    own = balancer(Balancing.WEIGHTED_ROUND_ROBIN)
    for _ in range(rounds):
        picked = Counter(firsts(own, pool, sum(weights)))
        assert [picked[one.id] for one in pool] == weights


def test_smooth_weights_do_not_come_in_bursts() -> None:
    pool = [candidate("a", weight=5), candidate("b"), candidate("c")]
    picked = firsts(balancer(Balancing.WEIGHTED_ROUND_ROBIN), pool, 7)
    assert picked == ["a", "a", "b", "a", "c", "a", "a"]


@given(st.integers(1, 6), st.integers(1, 4))
def test_round_robin_gives_everyone_the_same(count: int, rounds: int) -> None:
    pool = [candidate(f"i{index}", weight=index + 1) for index in range(count)]
    picked = Counter(firsts(balancer(Balancing.ROUND_ROBIN), pool, count * rounds))
    assert set(picked.values()) == {rounds}


def test_round_robin_goes_on_where_it_was_when_an_instance_comes_or_goes() -> None:
    own = balancer(Balancing.ROUND_ROBIN)
    abc = [candidate("a"), candidate("b"), candidate("c")]
    assert firsts(own, abc, 2) == ["a", "b"]
    assert firsts(own, [abc[0], abc[2]], 3) == ["c", "a", "c"]
    assert firsts(own, abc, 3) == ["a", "b", "c"]


@pytest.mark.parametrize("balancing", [Balancing.ROUND_ROBIN, Balancing.WEIGHTED_ROUND_ROBIN])
def test_sticky_calls_take_no_turn(balancing: Balancing) -> None:
    own, pool = balancer(balancing), [candidate("a"), candidate("b")]
    picked: list[str] = []
    for _ in range(4):
        assert own.order(pool, _id("a"))[0] == "a"
        picked += own.order(pool)[:1]
    assert picked == ["a", "b", "a", "b"]


@given(POOLS.filter(bool), st.integers())
def test_least_request_never_takes_the_busier_of_the_two_drawn(
    pool: list[Candidate], seed: int
) -> None:
    pool = [replace(one, priority=0, usable=True) for one in pool]
    order = balancer(Balancing.LEAST_REQUEST, seed=seed).order(pool)
    load = {one.id: one.outstanding / one.weight for one in pool}
    assert all(load[order[0]] <= load[other] for other in order[1:2])


def test_least_request_compares_just_the_two_it_drew() -> None:
    pool = [candidate("a", outstanding=9), candidate("b"), candidate("c", outstanding=5)]
    own = balancer(Balancing.LEAST_REQUEST, draws=[0.0, 0.99])
    assert own.order(pool) == ["c", "a", "b"]


def test_least_request_spreads_idle_instances_by_weight() -> None:
    pool = [candidate("a", weight=3), candidate("b")]
    picked = Counter(firsts(balancer(Balancing.LEAST_REQUEST), pool, 4000))
    assert picked["a"] == pytest.approx(3000, abs=120)


@given(st.lists(st.integers(1, 20), min_size=2, max_size=5), st.integers(0, 1000))
def test_least_request_fills_instances_as_their_weights_say(weights: list[int], seed: int) -> None:
    own, outstanding = balancer(Balancing.LEAST_REQUEST, seed=seed), [0] * len(weights)
    rounds = 20 * sum(weights)
    for _ in range(rounds):
        pool = [
            candidate(str(i), weight=w, outstanding=outstanding[i]) for i, w in enumerate(weights)
        ]
        outstanding[int(own.order(pool)[0])] += 1
    for weight, calls in zip(weights, outstanding, strict=True):
        assert calls / rounds == pytest.approx(weight / sum(weights), rel=0.5)


def test_a_higher_priority_number_is_used_when_the_lower_has_none_left() -> None:
    own = balancer(Balancing.LEAST_REQUEST)
    backup = candidate("backup", priority=1)
    main = candidate("main", outstanding=99)
    assert own.order([backup, main]) == ["main", "backup"]
    assert own.order([backup, replace(main, usable=False)]) == ["backup"]
    assert own.order([replace(backup, usable=False), replace(main, usable=False)]) == []


def test_a_well_backup_takes_the_calls_instead_of_panic() -> None:
    pool = [replace(candidate(f"m{index}"), usable=False) for index in range(5)]
    assert balancer(Balancing.ROUND_ROBIN).order([*pool, candidate("b", priority=1)]) == ["b"]


@pytest.mark.parametrize(
    ("usable", "of", "used"), [(0, 2, 0), (1, 3, 3), (0, 3, 3), (2, 4, 2), (1, 4, 4), (1, 2, 1)]
)
def test_panic_uses_all_below_half_of_three_or_more(usable: int, of: int, used: int) -> None:
    pool = [replace(candidate(f"i{index}"), usable=index < usable) for index in range(of)]
    assert len(balancer(Balancing.ROUND_ROBIN).order(pool)) == used


def test_panic_can_be_switched_off() -> None:
    pool = [replace(candidate(f"i{index}"), usable=False) for index in range(5)]
    assert balancer(Balancing.ROUND_ROBIN, panic_share=0.0).order(pool) == []


def test_nobody_to_choose_from_is_an_empty_order() -> None:
    assert balancer(Balancing.LEAST_REQUEST).order([]) == []
