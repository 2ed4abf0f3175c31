import json
from collections.abc import Mapping
from typing import Any

import pytest

from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import ConnectionStatus, EndpointState, Era
from agenthub.domain.entities.identity import OWNER, Scope
from agenthub.domain.exceptions import (
    DeniedError,
    NotFoundError,
    RpcError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ports.outbound.mcp_client import (
    Answer,
    Caller,
    InputRequired,
    Question,
    RawObject,
    UpstreamRequest,
)
from agenthub.domain.services.calls import MAX_ROUNDS, Deed, Errand
from agenthub.domain.services.catalog.views import CatalogService, View
from agenthub.domain.services.directory import Directory
from tests.fakes.mcp_client import FakeMcpClient
from tests.support.calling import calls_over
from tests.unit.domain.services.samples import catalog, endpoint, with_scopes

OFFERS = catalog(tools=["add"], prompts=["ask"], resources=["demo://a"])


class Agent(Caller):
    def __init__(self, era: Era, answers: Mapping[str, bytes] | None = None) -> None:
        self.era = era
        self.capabilities: Mapping[str, Any] = {}
        self.client = "agent"
        self.wants_progress = False
        self.log_level = None
        self.answers = dict(answers or {})
        self.asked: list[Question] = []

    async def progress(self, params: RawObject) -> None:
        raise AssertionError("no progress is expected")

    async def log(self, params: RawObject) -> None:
        raise AssertionError("no log is expected")

    async def ask(self, question: Question) -> bytes:
        self.asked.append(question)
        return self.answers[question.method]


class House:
    def __init__(self) -> None:
        self.client = FakeMcpClient()
        directory = Directory()
        self.catalog = CatalogService(client=self.client, directory=directory)
        self.calls = calls_over(self.client, directory, self.catalog, timeout_s=9)
        self.endpoint = endpoint("calc")
        directory.put_endpoint(self.endpoint)

    @property
    def view(self) -> View:
        return self.catalog.view_all(OWNER)


@pytest.fixture
async def house() -> House:
    made = House()
    await made.client.connect(made.endpoint)
    made.client.offer(made.endpoint.id, OFFERS)
    return made


@pytest.mark.parametrize(
    ("errand", "sent"),
    [
        (
            Errand(Deed.CALL_TOOL, "calc__add", {"name": b'"calc__add"', "arguments": b'{"a": 1}'}),
            {"name": b'"add"', "arguments": b'{"a": 1}'},
        ),
        (Errand(Deed.GET_PROMPT, "calc__ask", {"name": b'"calc__ask"'}), {"name": b'"ask"'}),
        (
            Errand(Deed.READ_RESOURCE, "calc+demo://x?y", {"uri": b'"calc+demo://x?y"'}),
            {"uri": b'"demo://x?y"'},
        ),
        (
            Errand(Deed.COMPLETE, "calc__ask", {"argument": b"{}"}, ref=ItemKind.PROMPTS),
            {"argument": b"{}", "ref": b'{"type":"ref/prompt","name":"ask"}'},
        ),
        (
            Errand(Deed.COMPLETE, "calc+demo://{n}", {}, ref=ItemKind.TEMPLATES),
            {"ref": b'{"type":"ref/resource","uri":"demo://{n}"}'},
        ),
    ],
)
async def test_a_server_is_asked_in_its_own_names(
    house: House, errand: Errand, sent: RawObject
) -> None:
    await house.calls.carry(house.view, errand, Agent(Era.MODERN))
    endpoint_id, request, _ = house.client.requests[0]
    assert endpoint_id == house.endpoint.id
    assert (request.method, request.params, request.timeout_s) == (errand.deed.value, sent, 9)


@pytest.mark.parametrize(
    ("errand", "code"),
    [
        (Errand(Deed.CALL_TOOL, "add", {}), "tool_not_found"),
        (Errand(Deed.GET_PROMPT, "calc__no", {}), "prompt_not_found"),
        (Errand(Deed.READ_RESOURCE, "demo://a", {}), "resource_not_found"),
        (Errand(Deed.COMPLETE, "calc__no", {}, ref=ItemKind.PROMPTS), "reference_not_found"),
    ],
)
async def test_an_unknown_name_reaches_no_server(house: House, errand: Errand, code: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        await house.calls.carry(house.view, errand, Agent(Era.MODERN))
    assert caught.value.code == code
    assert house.client.requests == []


async def test_a_target_that_was_found_before_is_not_looked_up_again(house: House) -> None:
    errand = Errand(Deed.CALL_TOOL, "calc__add", {})
    target = house.calls.target_of(house.view, errand, Era.MODERN)
    nothing = house.catalog.view_all(with_scopes(Scope.CHAT))
    outcome = await house.calls.carry(nothing, errand, Agent(Era.MODERN), target)
    assert outcome.target is target
    assert house.client.requests[0][1].params["name"] == b'"add"'


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (ConnectionStatus.CONNECTING, "server_starting"),
        (ConnectionStatus.UNREACHABLE, "server_unreachable"),
    ],
)
async def test_a_name_of_a_server_that_is_not_there_is_not_called_unknown(
    house: House, status: ConnectionStatus, code: str
) -> None:
    house.client.become(house.endpoint.id, EndpointState(status=status, last_error="it crashed"))
    with pytest.raises(UnavailableError) as caught:
        await house.calls.carry(
            house.view, Errand(Deed.CALL_TOOL, "calc__other", {}), Agent(Era.MODERN)
        )
    assert caught.value.code == code
    with pytest.raises(NotFoundError):
        await house.calls.carry(
            house.view, Errand(Deed.CALL_TOOL, "nobody__other", {}), Agent(Era.MODERN)
        )


@pytest.mark.parametrize("deed", list(Deed))
async def test_each_deed_needs_its_scope(house: House, deed: Deed) -> None:
    view = house.catalog.view_all(with_scopes(Scope.HUB_READ))
    with pytest.raises(DeniedError):
        await house.calls.carry(view, Errand(deed, "calc__add", {}), Agent(Era.MODERN))
    assert house.client.requests == []


async def test_a_servers_own_error_passes_unchanged(house: House) -> None:
    house.client.results["tools/call"] = RpcError(4242, "no", {"why": 1})
    with pytest.raises(RpcError) as caught:
        await house.calls.carry(
            house.view, Errand(Deed.CALL_TOOL, "calc__add", {}), Agent(Era.MODERN)
        )
    assert (caught.value.code, caught.value.data) == (4242, {"why": 1})


def asking(rounds: int, state: str | None = "s0"):
    """A modern server that asks in `rounds` rounds before it answers."""

    async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
        given = json.loads(request.params.get("requestState", b'"s-1"'))
        number = int(given[1:]) + 1
        if number >= rounds:
            return Answer(b'{"content":[]}', Era.MODERN)
        question = Question("calc", "elicitation/create", b'{"message":"?"}')
        needed = InputRequired({"q": question}, f"s{number}" if state else None)
        return Answer(b"{}", Era.MODERN, needed)

    return handle


async def test_a_legacy_agent_is_asked_round_by_round(house: House) -> None:
    house.client.handle = asking(2)
    agent = Agent(Era.LEGACY, {"elicitation/create": b'{"action":"accept"}'})
    outcome = await house.calls.carry(house.view, Errand(Deed.CALL_TOOL, "calc__add", {}), agent)
    assert outcome.answer.result == b'{"content":[]}'
    assert len(agent.asked) == 2
    again = house.client.requests[1][1].params
    assert again["requestState"] == b'"s0"'
    assert again["inputResponses"] == b'{"q":{"action":"accept"}}'


async def test_a_modern_agent_gets_the_round_itself(house: House) -> None:
    house.client.handle = asking(2)
    agent = Agent(Era.MODERN)
    outcome = await house.calls.carry(house.view, Errand(Deed.CALL_TOOL, "calc__add", {}), agent)
    assert outcome.answer.input_required is not None
    assert agent.asked == []


async def test_the_answer_after_the_last_round_counts(house: House) -> None:
    house.client.handle = asking(MAX_ROUNDS)
    agent = Agent(Era.LEGACY, {"elicitation/create": b"{}"})
    outcome = await house.calls.carry(house.view, Errand(Deed.CALL_TOOL, "calc__add", {}), agent)
    assert outcome.answer.result == b'{"content":[]}'


async def test_a_server_that_never_stops_asking_is_given_up(house: House) -> None:
    house.client.handle = asking(MAX_ROUNDS * 2)
    agent = Agent(Era.LEGACY, {"elicitation/create": b"{}"})
    with pytest.raises(UpstreamError, match="asked for more input"):
        await house.calls.carry(house.view, Errand(Deed.CALL_TOOL, "calc__add", {}), agent)
