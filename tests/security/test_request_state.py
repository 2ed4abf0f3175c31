"""What an agent brings back with its answers: its own, unaltered, once, and fitting."""

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.security.wire import ACCEPT, Target, refused
from tests.support.fixture_process import FixtureProcess

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("asking")]

Json = dict[str, Any]


FORM_CAPABLE = {"elicitation": {"form": {}}}


@pytest.fixture(scope="module")
def asking(_home: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Servers of both eras, `ask-modern` and `ask-legacy`, whose tool asks before it answers."""
    folder = tmp_path_factory.mktemp("asking")
    with ExitStack() as stack:
        for era in ("modern", "legacy"):
            options = ("--era", era, "--transport", "http")
            server = stack.enter_context(FixtureProcess("era_server", *options, log_dir=folder))
            _home.hub.register_http(f"ask-{era}", server.url)
            stack.callback(_home.hub.unregister, f"ask-{era}")
        yield


def round_of(tool_name: str, state: object, answer: object) -> Json:
    """The params that come back with an answer."""
    return {
        "name": tool_name,
        "arguments": {},
        "requestState": state,
        "inputResponses": answer,
    }


ACCEPTED = {"action": "accept", "content": {"name": "Ada"}}


def asked(hub: Target, tool_name: str, token: str = "") -> tuple[str, str]:
    """Have the tool ask; gives the state and the key of its question."""
    params = {"name": tool_name, "arguments": {}}
    message = hub.modern("tools/call", params, capabilities=FORM_CAPABLE, token=token).message()
    result = message["result"]
    assert result["resultType"] == "input_required", message
    return result["requestState"], next(iter(result["inputRequests"]))


def answered(hub: Target, params: Json, token: str = "") -> Json:
    reply = hub.modern("tools/call", params, capabilities=FORM_CAPABLE, token=token)
    return reply.message()


def greeted(message: Json) -> bool:
    return "Hello" in json.dumps(message)


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("change", ["altered", "cut", "other key", "other tool", "other arguments"])
def test_state_of_a_request_serves_nobody_and_nothing_else(
    hub: Target, era: str, change: str
) -> None:
    name = f"ask-{era}__ask_name"
    state, question = asked(hub, name)
    params = round_of(name, state, {question: ACCEPTED})
    token = ""
    if change == "altered":
        at = len(state) // 2
        params["requestState"] = state[:at] + ("A" if state[at] != "A" else "B") + state[at + 1 :]
    elif change == "cut":
        params["requestState"] = state[:-8]
    elif change == "other key":
        token = hub.key("tools:call")
    elif change == "other tool":
        params["name"] = f"ask-{era}__who_asks"
    else:
        params["arguments"] = {"more": 1}
    message = answered(hub, params, token)
    assert refused(message), message
    assert not greeted(message)
    honest = answered(hub, round_of(name, state, {question: ACCEPTED}))
    assert greeted(honest), honest


def test_state_of_a_parked_call_serves_once(hub: Target) -> None:
    name = "ask-legacy__ask_name"
    state, question = asked(hub, name)
    params = round_of(name, state, {question: ACCEPTED})
    assert greeted(answered(hub, params))
    replayed = answered(hub, params)
    assert refused(replayed)
    assert not greeted(replayed)


def test_state_of_one_path_serves_no_other(hub: Target) -> None:
    state, question = asked(hub, "ask-legacy__ask_name")
    params = round_of("ask_name", state, {question: ACCEPTED})
    reply = hub.modern(
        "tools/call", params, capabilities=FORM_CAPABLE, path="/servers/ask-legacy/mcp"
    )
    assert refused(reply.message())


@pytest.mark.parametrize("state", ["", "x", "e30=", 1, [], {}, "A" * 100_000, "\x00", "é"])
def test_made_up_state_is_refused(hub: Target, state: object) -> None:
    for era in ("modern", "legacy"):
        params = round_of(f"ask-{era}__ask_name", state, {"name": ACCEPTED})
        assert not greeted(answered(hub, params))


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize(
    "answer",
    [
        {"action": "accept", "content": {}},
        {"action": "accept", "content": ["Ada"]},
        {"action": "accept"},
        {"action": "maybe", "content": {"name": "Ada"}},
        {"content": {"name": "Ada"}},
        {"action": ["accept"], "content": {"name": "Ada"}},
        "Ada",
        None,
        [],
    ],
    ids=repr,
)
def test_answer_that_fits_no_question_is_not_taken(hub: Target, era: str, answer: object) -> None:
    name = f"ask-{era}__ask_name"
    state, question = asked(hub, name)
    message = answered(hub, round_of(name, state, {question: answer}))
    assert not greeted(message), message
    if "result" in message and message["result"].get("resultType") == "input_required":
        result = message["result"]
        again = round_of(
            name, result["requestState"], {next(iter(result["inputRequests"])): ACCEPTED}
        )
        assert greeted(answered(hub, again))


@pytest.mark.parametrize("value", [7, None, True, ["Ada"], {"a": "Ada"}], ids=repr)
def test_answer_of_the_wrong_type_is_asked_for_again(hub: Target, value: object) -> None:
    """The hub keeps the question of a legacy server while its call is parked, and checks."""
    name = "ask-legacy__ask_name"
    state, question = asked(hub, name)
    wrong = {"action": "accept", "content": {"name": value}}
    result = answered(hub, round_of(name, state, {question: wrong}))["result"]
    assert result["resultType"] == "input_required"
    right = {next(iter(result["inputRequests"])): ACCEPTED}
    assert greeted(answered(hub, round_of(name, result["requestState"], right)))


def test_modern_server_checks_the_answers_to_its_own_questions(hub: Target) -> None:
    """The hub keeps nothing between two rounds, and hands on what the agent said, unchanged."""
    name = "ask-modern__ask_name"
    state, question = asked(hub, name)
    said = {"action": "accept", "content": {"name": 7}}
    assert "Hello, 7!" in json.dumps(answered(hub, round_of(name, state, {question: said})))


@pytest.mark.parametrize("responses", [[], "x", 1, {"nobody-asked": ACCEPTED}, {"": ACCEPTED}])
def test_answers_to_what_nobody_asked_are_not_taken(hub: Target, responses: object) -> None:
    for era in ("modern", "legacy"):
        name = f"ask-{era}__ask_name"
        state, _ = asked(hub, name)
        assert not greeted(answered(hub, round_of(name, state, responses)))


class Session:
    """A legacy agent that can be asked. Its connections end with `connections`."""

    def __init__(self, hub: Target, connections: ExitStack, token: str = "") -> None:
        self._hub = hub
        self._connections = connections
        self._headers = {
            "Host": f"127.0.0.1:{hub.hub.port}",
            "Authorization": f"Bearer {token or hub.hub.token}",
            "Content-Type": "application/json",
            "Accept": ACCEPT,
        }
        hello = {
            "protocolVersion": "2025-11-25",
            "capabilities": FORM_CAPABLE,
            "clientInfo": {"name": "asked", "version": "1"},
        }
        response = self.post({"id": 0, "method": "initialize", "params": hello})
        self._headers["Mcp-Session-Id"] = response.headers["Mcp-Session-Id"]
        response.read()
        self.post({"method": "notifications/initialized"}).read()

    def post(self, message: Json) -> http.client.HTTPResponse:
        body = json.dumps({"jsonrpc": "2.0", **message})
        connection = http.client.HTTPConnection("127.0.0.1", self._hub.hub.port, timeout=10)
        self._connections.callback(connection.close)
        connection.request("POST", "/mcp", body, self._headers)
        return self._connections.enter_context(connection.getresponse())

    def call(self) -> http.client.HTTPResponse:
        params = {"name": "ask-legacy__ask_name", "arguments": {}}
        return self.post({"id": 1, "method": "tools/call", "params": params})

    def answer(self, question_id: object, name: str) -> int:
        result = {"action": "accept", "content": {"name": name}}
        response = self.post({"id": question_id, "result": result})
        response.read()
        return response.status


def next_message(response: http.client.HTTPResponse) -> Json:
    while line := response.readline():
        if line.startswith(b"data:") and line[5:].strip():
            message: Json = json.loads(line[5:])
            return message
    raise AssertionError("the stream ended")


@pytest.mark.parametrize("same_key", [True, False])
def test_question_to_one_agent_is_answered_by_no_other(hub: Target, same_key: bool) -> None:
    """The thief sends an answer with the id of a question that another session was asked."""
    with ExitStack() as connections:
        honest = Session(hub, connections)
        thief = Session(hub, connections, "" if same_key else hub.key("tools:call"))
        stream = honest.call()
        question = next_message(stream)
        assert question["method"] == "elicitation/create"
        for guess in (question["id"], 0, 1, 2, str(question["id"]), None):
            assert thief.answer(guess, "Mallory") < 500
        assert honest.answer(question["id"], "Ada") == 202
        assert "Hello, Ada!" in json.dumps(next_message(stream))
        assert honest.answer(question["id"], "Twice") < 500
