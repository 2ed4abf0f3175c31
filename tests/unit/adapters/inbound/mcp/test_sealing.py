"""Request state: opens for its own request only, and only for a while."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.adapters.inbound.mcp.sealing import Sealer, bind
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.exceptions import RpcError
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, GroupId, WorkspaceId
from agenthub.domain.services.catalog.views import View
from tests.fakes.clock import FakeClock
from tests.fakes.secrets import FakeSecretBox

VIEW = View(OWNER)
PARAMS = {"name": b'"t"', "arguments": b'{"a":1,"b":[1.0]}'}
BINDING = bind(VIEW, "tools/call", "t", PARAMS)


def sealer(clock: FakeClock | None = None, *, key: bytes = b"k") -> Sealer:
    return Sealer(FakeSecretBox(key), clock or FakeClock(), ttl_s=600)


def refusal(made: Sealer, state: Any, binding: tuple[str, ...] = BINDING) -> str:
    with pytest.raises(RpcError) as caught:
        made.open(state, binding)
    assert caught.value.code == -32602
    return caught.value.message


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-9, 9)))
def test_a_payload_comes_back(payload: dict[str, Any]) -> None:
    made = sealer()
    state = made.seal(payload, BINDING)
    assert state.isascii()
    assert made.open(state, BINDING) == payload


def test_a_state_opens_until_it_expires() -> None:
    clock = FakeClock()
    made = sealer(clock)
    state = made.seal({"a": 1}, BINDING)
    clock.advance(599)
    assert made.open(state, BINDING) == {"a": 1}
    clock.advance(1)
    refusal(made, state)


@pytest.mark.parametrize(
    "binding",
    [
        bind(View(Principal(DEFAULT_WORKSPACE, "k", OWNER.scopes)), "tools/call", "t", PARAMS),
        bind(View(Principal(WorkspaceId("w"), "owner", OWNER.scopes)), "tools/call", "t", PARAMS),
        bind(View(OWNER, GroupId("g")), "tools/call", "t", PARAMS),
        bind(View(OWNER, server=EndpointId("e")), "tools/call", "t", PARAMS),
        bind(VIEW, "prompts/get", "t", PARAMS),
        bind(VIEW, "tools/call", "u", PARAMS),
        bind(VIEW, "tools/call", "t", {**PARAMS, "arguments": b'{"a":2,"b":[1.0]}'}),
        bind(VIEW, "tools/call", "t", {**PARAMS, "arguments": b'{"a":1.0,"b":[1.0]}'}),
        bind(VIEW, "tools/call", "t", {**PARAMS, "arguments": b'{"a":"1","b":[1.0]}'}),
        bind(VIEW, "tools/call", "t", {**PARAMS, "more": b"null"}),
    ],
)
def test_a_state_opens_for_its_own_request_only(binding: tuple[str, ...]) -> None:
    made = sealer()
    refusal(made, made.seal({}, BINDING), binding)


@pytest.mark.parametrize(
    "params",
    [
        {**PARAMS, "requestState": b'"x"', "inputResponses": b"{}"},
        {"arguments": b'{ "b": [1.0], "a": 1 }', "name": b'"\\u0074"'},
    ],
)
def test_a_retry_is_the_same_request_whatever_its_layout(params: dict[str, bytes]) -> None:
    assert bind(VIEW, "tools/call", "t", params) == BINDING


def test_scopes_may_change_between_the_rounds() -> None:
    narrowed = Principal(OWNER.workspace, OWNER.subject, frozenset({Scope.TOOLS_CALL}))
    assert bind(View(narrowed), "tools/call", "t", PARAMS) == BINDING


def test_every_refusal_reads_the_same() -> None:
    clock = FakeClock()
    made = sealer(clock)
    state = made.seal({}, BINDING)
    altered = state[:-6] + ("AAAAAA" if not state.endswith("AAAAAA") else "BBBBBB")
    texts = {
        refusal(made, altered),
        refusal(made, "2." + state[2:]),
        refusal(made, sealer(clock, key=b"other").seal({}, BINDING)),
        refusal(made, state, bind(VIEW, "prompts/get", "t", PARAMS)),
        *(refusal(made, bad) for bad in (None, 7, "", "1.", "1.%", "1.é", "1." + "A" * 2**21, [])),
    }
    clock.advance(601)
    texts.add(refusal(made, state))
    assert len(texts) == 1
