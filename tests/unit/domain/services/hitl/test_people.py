"""Who answers what a server asks in a call: the agent, or a person."""

import asyncio
import json
from typing import Any

import pytest

from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.hitl.elicitation_request import Action, ElicitationRequest
from agenthub.domain.entities.hitl.request import RequestStatus
from agenthub.domain.entities.hitl.rules import PolicyAction
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import (
    DeclinedError,
    GoneError,
    RpcError,
    UnanswerableError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ports.outbound.mcp_client import (
    Answer,
    Caller,
    InputRequired,
    Question,
    UpstreamRequest,
)
from agenthub.domain.services.calls import Outcome
from tests.support.held import (
    ACCEPTED,
    LINK,
    RESULT,
    TTL_S,
    WISH,
    Agent,
    House,
    Hub,
    ask_form,
    ask_link,
)
from tests.support.waiting import eventually, soon
from tests.unit.domain.services.hitl.calling import begun

ELICIT, SAMPLE = "elicitation/create", "sampling/createMessage"
FROM_AGENT = {ELICIT: b'{"action":"decline"}'}


@pytest.fixture
def house() -> House:
    return House()


def result_of(outcome: Any) -> bytes:
    assert isinstance(outcome, Outcome)
    return outcome.answer.result


async def test_a_person_answers_where_the_agent_cannot(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living() as hub, begun(hub.call()) as call:
        await hub.respond(await house.asked(ElicitationRequest))
        assert result_of(await call.ended()) == RESULT
    assert house.server.given == [ACCEPTED]


async def test_the_question_says_who_called_what(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living() as hub, begun(hub.call(Agent(name="bot"))):
        origin = (await house.asked(ElicitationRequest)).origin
    assert (origin.server, origin.deed, origin.key) == ("calc", "tools/call", "add")
    assert (origin.subject, origin.agent) == ("owner", "bot")
    assert origin.conversation == "talk of bot"


async def test_an_agent_that_can_answers_first_and_nothing_is_kept(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living() as hub:
        await soon(hub.call(Agent(answers=FROM_AGENT)))
    assert house.server.given == [{"action": "decline"}]
    assert (house.requests, house.rows) == ([], [])


async def test_a_person_answers_where_the_policy_says_so(house: House) -> None:
    house.server.questions = [ask_form()]
    agent = Agent(answers=FROM_AGENT)
    async with house.living(questions="person") as hub, begun(hub.call(agent)) as call:
        await hub.respond(await house.asked(ElicitationRequest))
        await call.ended()
    assert agent.asked == []
    assert house.server.given == [ACCEPTED]


@pytest.mark.parametrize("settings", [{"questions": "agent"}, {"enabled": False}])
async def test_nobody_but_the_agent_is_asked_where_people_are_not(
    house: House, settings: dict[str, Any]
) -> None:
    house.server.questions = [ask_form()]
    async with house.living(**settings) as hub:
        with pytest.raises(UnanswerableError):
            await soon(hub.call())
    assert (house.requests, house.rows) == ([], [])


async def test_a_person_is_asked_when_the_agent_is_gone_in_the_middle(house: House) -> None:
    house.server.questions = [ask_form()]
    agent = Agent(answers=FROM_AGENT)
    agent.can_answer = lambda question: True
    agent.answers.clear()
    async with house.living() as hub, begun(hub.call(agent)) as call:
        await hub.respond(await house.asked(ElicitationRequest))
        await call.ended()
    assert house.server.given == [ACCEPTED]


async def test_an_answer_reaches_the_server_though_the_call_it_was_asked_through_has_ended(
    house: House,
) -> None:
    async with house.living() as hub, asyncio.TaskGroup() as group:
        asking: list[asyncio.Task[bytes]] = []

        async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
            asking.append(group.create_task(caller.ask(ask_form())))
            await house.asked(ElicitationRequest)
            return Answer(RESULT, Era.LEGACY)

        hub.client.handle = handle
        assert result_of(await soon(hub.call())) == RESULT
        await hub.respond(await house.asked(ElicitationRequest))

        assert json.loads(await soon(asking[0])) == ACCEPTED


async def test_a_question_of_nobodys_goes_to_a_person_and_names_no_agent(house: House) -> None:
    house.server.questions = [ask_form(is_attributed=False)]
    agent = Agent(answers=FROM_AGENT)
    async with house.living() as hub, begun(hub.call(agent)) as call:
        request = await house.asked(ElicitationRequest)
        origin = request.origin
        assert (origin.server, origin.subject, origin.agent) == ("calc", "", "")
        assert (origin.deed, origin.key) == ("", "")
        await hub.respond(request)
        await call.ended()
    assert agent.asked == []


async def test_a_question_of_nobodys_is_refused_where_only_agents_answer(house: House) -> None:
    house.server.questions = [ask_form(is_attributed=False)]
    await house.put_policy(server="other")
    async with house.living(questions="agent") as hub:
        with pytest.raises(UnanswerableError):
            await soon(hub.call(Agent(answers=FROM_AGENT)))


async def test_nobody_answering_in_time_is_no_refusal(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living() as hub, begun(hub.call()) as call:
        await house.asked(ElicitationRequest)
        house.clock.advance(TTL_S)
        await hub.queue.sweep()
        with pytest.raises(GoneError) as caught:
            await call.ended()
    assert caught.value.code == "request_expired"
    assert house.server.given == []


async def test_questions_at_the_same_time_are_answered_each_by_itself(house: House) -> None:
    async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
        answers = await asyncio.gather(caller.ask(ask_form()), caller.ask(ask_link()))
        return Answer(b"[" + b",".join(answers) + b"]", Era.LEGACY)

    async with house.living() as hub:
        hub.client.handle = handle
        async with begun(hub.call()) as call:
            form, link = await rounds_of(house, hub, 2)
            assert house.row(form.held).requests == (form.id, link.id)
            await hub.respond(link, Action.CANCEL)
            await hub.respond(form)
            assert json.loads(result_of(await call.ended())) == [ACCEPTED, {"action": "cancel"}]


async def test_a_rejected_wish_for_a_model_is_the_error_that_mcp_says(house: House) -> None:
    house.server.questions = [Question("calc", SAMPLE, json.dumps(WISH).encode())]
    async with house.living(model="priced") as hub, begun(hub.call()) as call:
        request = await house.asked(SamplingRequest)
        await hub.sampling.reject(OWNER, request.id, "no")
        with pytest.raises(RpcError) as caught:
            await call.ended()
    assert (caught.value.code, caught.value.message) == (-1, "User rejected sampling request")


async def test_a_wish_for_a_model_is_refused_where_the_hub_has_none(house: House) -> None:
    house.server.questions = [Question("calc", SAMPLE, b"{}")]
    async with house.living() as hub:
        with pytest.raises(UnanswerableError):
            await soon(hub.call())


@pytest.mark.parametrize(
    ("settings", "declared"),
    [
        ({}, {"elicitation": {"form": {}, "url": {}}, "roots": {}}),
        ({"model": "priced"}, {"sampling": {"tools": {}}, "roots": {}, "elicitation": {}}),
        ({"questions": "agent"}, {"elicitation": {}, "roots": {}}),
    ],
)
async def test_a_server_is_told_what_agent_and_people_can_answer_together(
    house: House, settings: dict[str, Any], declared: dict[str, Any]
) -> None:
    agent = Agent()
    agent.capabilities = {"elicitation": {}, "roots": {}}
    async with house.living(**settings) as hub:
        await soon(hub.call(agent))
        capabilities = hub.client.requests[0][2].capabilities
    assert capabilities.keys() == declared.keys()
    if "sampling" not in declared:
        assert capabilities == declared


async def rounds_of(house: House, hub: Hub, count: int) -> list[ElicitationRequest]:
    await house.asked(ElicitationRequest, count)
    return [one for one in house.requests if isinstance(one, ElicitationRequest)]


async def test_several_questions_of_one_round_are_one_bundle(house: House) -> None:
    house.server.rounds = [InputRequired({"a": ask_form(), "b": ask_link()}, "s1")]
    async with house.living() as hub, begun(hub.call()) as call:
        first, second = await rounds_of(house, hub, 2)
        assert (first.key, second.key, first.held) == ("a", "b", second.held)
        await hub.respond(second, Action.DECLINE)
        await hub.respond(first)
        assert result_of(await call.ended()) == RESULT
    again = house.server.sent[1].params
    assert json.loads(again["requestState"]) == "s1"
    assert json.loads(again["inputResponses"]) == {"a": ACCEPTED, "b": {"action": "decline"}}


async def test_a_modern_agent_that_can_answer_all_gets_the_round_itself(house: House) -> None:
    house.server.rounds = [InputRequired({"a": ask_form()}, "s1")]
    async with house.living() as hub:
        outcome = await soon(hub.call(Agent(answers=FROM_AGENT)))
    assert isinstance(outcome, Outcome)
    assert outcome.answer.input_required is not None
    assert house.rows == []


async def test_a_person_answers_the_whole_round_of_which_the_agent_can_but_a_part(
    house: House,
) -> None:
    wish = Question("calc", SAMPLE, json.dumps(WISH).encode())
    house.server.rounds = [InputRequired({"a": ask_form(), "b": wish}, None)]
    agent = Agent(Era.LEGACY, FROM_AGENT)
    async with house.living(model="priced") as hub, begun(hub.call(agent)) as call:
        await hub.sampling.reject(OWNER, (await house.asked(SamplingRequest)).id, "no")
        await hub.respond(await house.asked(ElicitationRequest))
        with pytest.raises(RpcError):
            await call.ended()
    assert agent.asked == []


@pytest.mark.parametrize("era", list(Era))
async def test_a_round_that_neither_can_answer_alone_is_answered_by_both(
    house: House, era: Era
) -> None:
    sampled = b'{"role":"assistant","model":"m","content":{"type":"text","text":"hi"}}'
    wish = Question("calc", SAMPLE, json.dumps(WISH).encode())
    house.server.rounds = [InputRequired({"a": ask_form(), "b": wish}, "s1")]
    agent = Agent(era, {SAMPLE: sampled})
    async with house.living() as hub, begun(hub.call(agent)) as call:
        asked = await house.asked(ElicitationRequest)
        [row] = house.rows
        assert row.going_on == {"keys": ["a"], "state": "s1", "given": {"b": sampled.decode()}}
        await hub.respond(asked)
        assert result_of(await call.ended()) == RESULT
    assert [question.method for question in agent.asked] == [SAMPLE]
    responses = json.loads(house.server.sent[1].params["inputResponses"])
    assert responses == {"a": ACCEPTED, "b": json.loads(sampled)}


async def test_a_round_that_asks_wrongly_is_the_servers_fault(house: House) -> None:
    wrong = Question("calc", ELICIT, b'{"message":"?","requestedSchema":{"type":"array"}}')
    house.server.rounds = [InputRequired({"a": wrong}, None)]
    async with house.living() as hub:
        with pytest.raises(UpstreamError) as caught:
            await soon(hub.call())
    assert caught.value.code == "question_refused"
    assert house.rows == []


def links_required() -> RpcError:
    data = {"elicitations": [{**LINK, "elicitationId": "x"}]}
    return RpcError(-32042, "open this first", data)


async def test_links_to_open_first_are_a_persons_and_the_call_is_sent_again(house: House) -> None:
    house.server.errors = [links_required()]
    async with house.living() as hub, begun(hub.call()) as call:
        request = await house.asked(ElicitationRequest)
        assert request.shown["url"] == LINK["url"]
        await hub.respond(request)
        assert result_of(await call.ended()) == RESULT
    assert house.server.sent[0].params == house.server.sent[1].params


async def test_a_link_that_is_declined_ends_the_call(house: House) -> None:
    house.server.errors = [links_required()]
    async with house.living() as hub, begun(hub.call()) as call:
        await hub.respond(await house.asked(ElicitationRequest), Action.CANCEL)
        with pytest.raises(DeclinedError) as caught:
            await call.ended()
    assert caught.value.code == "link_declined"
    assert len(house.server.sent) == 1


@pytest.mark.parametrize("settings", [{}, {"questions": "agent"}])
async def test_a_modern_agent_gets_links_as_a_round_and_comes_back(
    house: House, settings: dict[str, Any]
) -> None:
    house.server.errors = [links_required()]
    agent = Agent(answers=FROM_AGENT)
    async with house.living(**settings) as hub:
        asked = await soon(hub.call(agent))
        assert isinstance(asked, Outcome)
        needed = asked.answer.input_required
        assert needed is not None
        given = json.dumps({key: {"action": "accept"} for key in needed.requests}).encode()
        assert result_of(await soon(hub.call(agent, inputResponses=given))) == RESULT
    assert "inputResponses" not in house.server.sent[1].params


async def test_a_legacy_agent_that_opens_links_gets_the_error_as_it_is(house: House) -> None:
    house.server.errors = [links_required()]
    agent = Agent(Era.LEGACY, FROM_AGENT)
    agent.capabilities = {"elicitation": {"url": {}}}
    async with house.living() as hub:
        with pytest.raises(RpcError) as caught:
            await soon(hub.call(agent))
    assert caught.value.code == -32042


async def test_an_approved_call_goes_to_its_server_with_the_arguments_a_person_gave(
    house: House,
) -> None:
    await house.put_policy(tool="add")
    async with house.living() as hub, begun(hub.call()) as call:
        request = await house.asked(ToolApproval)
        assert request.shown["arguments"] == {"n": 1}
        assert request.shown["title"] == "Adding"
        assert house.server.sent == []
        await hub.approvals.approve(OWNER, request.id, arguments={"n": 2})
        assert result_of(await call.ended()) == RESULT
    assert house.server.arguments == [{"n": 2}]
    assert house.statuses() == [RequestStatus.COMPLETED]


async def test_a_denied_call_tells_the_model_why_and_reaches_no_server(house: House) -> None:
    await house.put_policy(tool="add")
    async with house.living() as hub, begun(hub.call()) as call:
        await hub.approvals.deny(OWNER, (await house.asked(ToolApproval)).id, reason="too dear")
        with pytest.raises(DeclinedError, match="too dear") as caught:
            await call.ended()
    assert caught.value.code == "call_denied"
    assert house.server.sent == []


async def test_a_policy_that_denies_asks_nobody(house: House) -> None:
    await house.put_policy(PolicyAction.DENY)
    async with house.living(enabled=False) as hub:
        with pytest.raises(DeclinedError) as caught:
            await soon(hub.call())
    assert caught.value.code == "call_denied"
    assert house.requests == []


async def test_a_call_that_needs_a_person_does_not_pass_where_none_may_be_asked(
    house: House,
) -> None:
    await house.put_policy()
    async with house.living(enabled=False) as hub:
        with pytest.raises(UnanswerableError):
            await soon(hub.call())
    assert house.server.sent == []


async def test_answers_sent_along_spare_a_call_no_approval(house: House) -> None:
    await house.put_policy()
    async with house.living() as hub, begun(hub.call(inputResponses=b"{}")) as call:
        await hub.approvals.deny(OWNER, (await house.asked(ToolApproval)).id)
        with pytest.raises(DeclinedError):
            await call.ended()
    assert house.server.sent == []


async def test_rounds_of_a_call_that_was_changed_keep_to_the_change(house: House) -> None:
    await house.put_policy()
    house.server.rounds = [InputRequired({"a": ask_form()}, "s1")]
    agent = Agent(answers=FROM_AGENT)
    async with house.living() as hub, begun(hub.call(agent)) as call:
        approval = await house.asked(ToolApproval)
        await hub.approvals.approve(OWNER, approval.id, arguments={"n": 2})
        assert result_of(await call.ended()) == RESULT
    assert house.server.arguments == [{"n": 2}, {"n": 2}]
    assert len(agent.asked) == 1


async def test_what_stands_in_for_a_changed_call_gets_the_change_too(house: House) -> None:
    await house.put_policy(tool="add")
    house.server.errors = [UnavailableError("down", code="server_unreachable")]
    add = {"fallback": {"tool": "add2"}, "retry": {"max_retries": 0}}
    async with house.living(tools={("calc", "add"): add}) as hub, begun(hub.call()) as call:
        approval = await house.asked(ToolApproval)
        await hub.approvals.approve(OWNER, approval.id, arguments={"n": 2})
        await call.ended()
    assert house.server.arguments == [{"n": 2}, {"n": 2}]


async def test_a_member_that_stands_twice_is_sent_as_it_was_looked_at(house: House) -> None:
    await house.put_policy()
    async with house.living() as hub, begun(hub.call(arguments=b'{"n":1,"n":2}')) as call:
        request = await house.asked(ToolApproval)
        assert request.shown["arguments"] == {"n": 2}
        await hub.approvals.approve(OWNER, request.id)
        await call.ended()
    assert house.server.sent[0].params["arguments"] == b'{"n": 2}'


async def test_a_question_that_the_server_withdraws_fails_and_the_call_goes_on(
    house: House,
) -> None:
    async with house.living() as hub:
        house.server.questions = [ask_form()]

        async with begun(hub.call()) as call:
            await house.asked(ElicitationRequest)
            call.cancel()
            statuses = await eventually(
                lambda: RequestStatus.FAILED in house.statuses() and house.statuses()
            )
    assert statuses == [RequestStatus.FAILED]
