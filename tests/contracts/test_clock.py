"""Time, ids and chance, real and fake."""

from datetime import timedelta

import pytest

from agenthub.adapters.outbound.clock.system import SystemChance, SystemClock, UlidFactory
from agenthub.domain.ports.outbound.clock import Chance, Clock, IdFactory
from tests.fakes.clock import NEW_YEAR, FakeChance, FakeClock, FakeIdFactory


@pytest.fixture(params=[FakeClock, SystemClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    return request.param()


@pytest.fixture(params=["fake", "ulid"])
def ids(request: pytest.FixtureRequest) -> IdFactory:
    return FakeIdFactory() if request.param == "fake" else UlidFactory(clock=FakeClock())


@pytest.fixture(params=[FakeChance, SystemChance])
def chance(request: pytest.FixtureRequest) -> Chance:
    return request.param()


def test_now_is_aware_and_in_utc(clock: Clock) -> None:
    assert clock.now().utcoffset() == timedelta(0)


def test_monotonic_time_never_runs_backwards(clock: Clock) -> None:
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


def test_ids_are_unique_and_sort_in_the_order_they_were_made(ids: IdFactory) -> None:
    made = [ids.new() for _ in range(10_000)]
    assert made == sorted(set(made))


def test_an_id_is_never_a_name(ids: IdFactory) -> None:
    """Names and slugs begin with a lower-case letter."""
    assert not ids.new()[0].islower()


def test_ulids_tell_their_time_and_survive_a_clock_that_is_set_back() -> None:
    clock = FakeClock()
    ids = UlidFactory(clock=clock)
    first = ids.new()
    clock.advance(-3600)
    second = ids.new()
    clock.advance(7200)
    third = ids.new()
    assert first < second < third
    assert {len(first), len(second), len(third)} == {26}
    assert ulid_ms(first) == ulid_ms(second) == int(NEW_YEAR.timestamp() * 1000)
    assert ulid_ms(third) == int(clock.now().timestamp() * 1000)


def test_ulids_of_two_factories_do_not_meet() -> None:
    clock = FakeClock()
    one, other = UlidFactory(clock=clock), UlidFactory(clock=clock)
    assert {one.new() for _ in range(1000)}.isdisjoint({other.new() for _ in range(1000)})


def test_shares_lie_between_0_and_1_and_differ(chance: Chance) -> None:
    shares = [chance.share() for _ in range(1000)]
    assert all(0 <= share < 1 for share in shares)
    assert len(set(shares)) > 900


def test_tokens_are_url_safe_unlike_each_other_and_long_enough(chance: Chance) -> None:
    tokens = {chance.token(32) for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) >= 43 for token in tokens)
    assert all(char.isalnum() or char in "-_" for token in tokens for char in token)


def ulid_ms(ulid: str) -> int:
    value = 0
    for char in ulid[:10]:
        value = value * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(char)
    return value
