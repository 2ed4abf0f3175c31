"""Sparse layers over a policy: what they leave out holds as below, what is wrong is named."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.entities.resilience.checks import Rule, rules_of
from agenthub.domain.entities.resilience.layers import (
    FOREIGN,
    Level,
    as_document,
    canonical,
    merged,
    nano_of,
    patched,
    usd_of,
)
from agenthub.domain.entities.resilience.policy import (
    Balancing,
    BreakerPolicy,
    FallbackPolicy,
    GatewayPolicy,
    Part,
    RateLimit,
)
from agenthub.domain.exceptions import InvalidError

PLAIN = GatewayPolicy()
LIMITED = GatewayPolicy(
    rate_limit=RateLimit(rate_per_s=5, burst=10),
    calls_per_day=100,
    price_nano_usd=7,
    fallback=FallbackPolicy(server="other", tool="same"),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=4,
)


def value_of(rule: Rule) -> st.SearchStrategy[Any]:
    """Values that mostly fit a field, and some that do not."""
    if issubclass(rule.kind, Part):
        fitting = layer_of(rule.kind)
    elif rule.kind is bool:
        fitting = st.booleans()
    elif rule.kind is str:
        fitting = st.text(min_size=1, max_size=5)
    elif rule.kind in (int, float):
        fitting = st.integers(0, 20) | st.floats(0, 20)
    else:
        words: Any = rule.kind
        fitting = st.sampled_from([*words, "random"])
    return st.one_of(fitting, fitting, fitting, st.sampled_from([None, "none"]), ANYTHING)


def layer_of(part: type[Any]) -> st.SearchStrategy[dict[str, Any]]:
    optional = {name: value_of(rule) for name, rule in rules_of(part).items()}
    return st.fixed_dictionaries({}, optional=optional)


LAYERS = layer_of(GatewayPolicy)


def attempt(base: GatewayPolicy, layer: dict[str, Any]) -> GatewayPolicy | InvalidError:
    try:
        return merged(base, layer)
    except InvalidError as error:
        return error


def test_an_empty_layer_changes_nothing() -> None:
    for policy in (PLAIN, LIMITED):
        assert merged(policy, {}) == policy
        assert merged(policy, {"breaker": {}, "timeout_s": None}) == policy


def test_what_a_layer_leaves_out_holds_as_below() -> None:
    base = merged(PLAIN, {"timeout_s": 9, "breaker": {"open_s": 2, "min_calls": 3}})
    policy = merged(base, {"breaker": {"min_calls": 4}, "balancing": "round_robin"})
    assert policy == GatewayPolicy(
        timeout_s=9,
        breaker=BreakerPolicy(open_s=2, min_calls=4),
        balancing=Balancing.ROUND_ROBIN,
    )


@pytest.mark.parametrize("nothing", [None, "none"])
@pytest.mark.parametrize("name", ["rate_limit", "calls_per_day", "price_nano_usd", "fallback"])
def test_none_takes_a_limit_away(name: str, nothing: str | None) -> None:
    policy = merged(LIMITED, {name: nothing})
    assert getattr(policy, name) is None
    assert merged(LIMITED, {"price_usd": nothing}).price_nano_usd is None


def test_a_rate_limit_over_another_is_overlaid_field_by_field() -> None:
    policy = merged(LIMITED, {"rate_limit": {"rate_per_s": 2}})
    assert policy.rate_limit == RateLimit(rate_per_s=2, burst=10)


def test_a_rate_limit_over_none_has_a_burst_of_a_second() -> None:
    policy = merged(PLAIN, {"rate_limit": {"rate_per_s": 2.5}})
    assert policy.rate_limit == RateLimit(rate_per_s=2.5, burst=3)
    policy = merged(PLAIN, {"caller_rate_limit": {"rate_per_s": 0.1}})
    assert policy.caller_rate_limit == RateLimit(rate_per_s=0.1, burst=1)


def test_a_fallback_replaces_the_one_below_as_a_whole() -> None:
    policy = merged(LIMITED, {"fallback": {"cached_for_s": 60}})
    assert policy.fallback == FallbackPolicy(cached_for_s=60)


@pytest.mark.parametrize(
    ("layer", "loc"),
    [
        ({"breakers": {}}, ("breakers",)),
        ({"breaker": {"open": 1}}, ("breaker", "open")),
        ({"breaker": {"open_s": -1}}, ("breaker", "open_s")),
        ({"breaker": {"max_open_s": 1}}, ("breaker", "open_s")),
        ({"breaker": 5}, ("breaker",)),
        ({"rate_limit": {"burst": 5}}, ("rate_limit", "rate_per_s")),
        ({"caller_rate_limit": {"rate_per_s": 0}}, ("caller_rate_limit", "rate_per_s")),
        ({"caller_rate_limit": {"rate_per_s": 1, "burst": 0}}, ("caller_rate_limit", "burst")),
        ({"fallback": {}}, ("fallback",)),
        ({"fallback": {"server": "a"}}, ("fallback", "tool")),
        ({"balancing": "random"}, ("balancing",)),
        ({"balancing": ["random"]}, ("balancing",)),
        ({"definitions": "none"}, ("definitions",)),
        ({"price_usd": 0.5}, ("price_usd",)),
        ({"price_usd": "0.0000000001"}, ("price_usd",)),
        ({"price_usd": "-1"}, ("price_usd",)),
        ({"price_usd": "1000001"}, ("price_usd",)),
        ({"price_usd": "1", "price_nano_usd": 1}, ("price_usd",)),
    ],
)
def test_a_fault_names_its_field_behind_where_the_layer_stands(
    layer: dict[str, Any], loc: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidError) as refused:
        merged(PLAIN, layer, loc=("servers", "time"))
    assert [fault.loc for fault in refused.value.faults] == [("servers", "time", *loc)]


def test_every_fault_of_a_layer_is_told() -> None:
    with pytest.raises(InvalidError) as refused:
        merged(PLAIN, {"x": 1, "retry": {"max_retries": 9}, "timeout_s": 0, "health": {"y": 1}})
    assert {fault.loc for fault in refused.value.faults} >= {
        ("x",),
        ("retry", "max_retries"),
        ("health", "y"),
    }


@pytest.mark.parametrize("level", Level)
def test_some_fields_are_not_for_every_level(level: Level) -> None:
    values: dict[str, Any] = {
        "fallback": {"tool": "a"},
        "balancing": "round_robin",
        "definitions": "warn",
        "health": {},
        "panic_share": 0.1,
    }
    for name, value in values.items():
        if name in FOREIGN[level]:
            with pytest.raises(InvalidError) as refused:
                merged(PLAIN, {name: value}, level=level)
            assert [fault.loc for fault in refused.value.faults] == [(name,)]
        else:
            merged(PLAIN, {name: value}, level=level)


@given(LAYERS, st.sampled_from([PLAIN, LIMITED]))
def test_every_layer_is_refused_by_name_or_gives_a_valid_policy(
    layer: dict[str, Any], base: GatewayPolicy
) -> None:
    policy = attempt(base, layer)
    if isinstance(policy, InvalidError):
        assert policy.faults
        assert all(fault.loc and fault.message for fault in policy.faults)
        return
    document = as_document(policy)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    for under in (PLAIN, LIMITED, base):
        assert merged(under, document) == policy
    assert merged(base, canonical(layer)) == policy
    assert canonical(canonical(layer)) == canonical(layer)


@given(ANYTHING | st.dictionaries(st.sampled_from([*rules_of(GatewayPolicy)]), ANYTHING))
def test_nonsense_is_refused_and_never_crashes(layer: Any) -> None:
    if isinstance(layer, dict):
        policy = attempt(PLAIN, layer)
        assert not isinstance(policy, InvalidError) or policy.faults


@given(LAYERS, LAYERS)
def test_a_merge_patch_is_that_of_the_rfc(layer: dict[str, Any], patch: dict[str, Any]) -> None:
    layer = {k: v for k, v in layer.items() if v is not None}
    assert patched(layer, {}) == layer
    changed = patched(layer, patch)
    for name, value in patch.items():
        if value is None:
            assert name not in changed
        elif not isinstance(value, dict):
            assert changed[name] is value
    assert layer.keys() - patch.keys() <= changed.keys()


def test_a_merge_patch_changes_single_fields_of_a_part() -> None:
    layer = {"breaker": {"open_s": 1, "min_calls": 2}, "price_nano_usd": 5}
    patch = {"breaker": {"open_s": None, "calm_s": 9}, "price_usd": "0.000000006"}
    assert patched(layer, patch) == {
        "breaker": {"min_calls": 2, "calm_s": 9},
        "price_nano_usd": 6,
    }
    assert patched(layer, {"price_usd": None, "breaker": None}) == {}


@given(st.integers(0, 10**15))
def test_money_is_exact_both_ways(nano: int) -> None:
    assert nano_of(usd_of(nano)) == nano
    assert Decimal(usd_of(nano)) * 10**9 == nano


@pytest.mark.parametrize(
    "bad", ["", ".5", "5.", "1e3", "+1", " 1", "१", "1,5", "1\n", 1, 0.5, None]
)
def test_money_is_a_plain_decimal_text(bad: object) -> None:
    with pytest.raises(ValueError, match="text"):
        nano_of(bad)


def test_faults_within_a_part_hide_none_of_the_fields_beside_it() -> None:
    layer = {
        "timeout_s": 0,
        "breaker": {"open_s": 0, "colour": "red"},
        "retry": {"max_retries": 9},
        "balancing": "x",
    }
    with pytest.raises(InvalidError) as refused:
        merged(PLAIN, layer)
    assert {fault.loc for fault in refused.value.faults} == {
        ("timeout_s",),
        ("breaker", "open_s"),
        ("breaker", "colour"),
        ("retry", "max_retries"),
        ("balancing",),
    }
