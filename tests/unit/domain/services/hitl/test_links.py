"""Links that a legacy server wants opened first, as a round of questions."""

import json
from typing import Any

import pytest

from agenthub.domain.exceptions import DeclinedError, RpcError
from agenthub.domain.ports.outbound.mcp_client import InputRequired, RawObject
from agenthub.domain.services.hitl.links import MAX_LINKS, is_links, links_of, without_links

LINK = {"mode": "url", "url": "https://example.com", "message": "m", "elicitationId": "e"}


def required(*links: Any) -> RpcError:
    return RpcError(-32042, "open", {"elicitations": list(links)})


def test_each_link_is_a_question_of_the_modern_kind() -> None:
    needed = links_of(required(LINK, LINK), "calc")
    assert needed is not None
    assert is_links(needed)
    assert needed.state is None
    params = [json.loads(one.params) for one in needed.requests.values()]
    assert params == [{"mode": "url", "message": "m", "url": "https://example.com"}] * 2


@pytest.mark.parametrize(
    "error",
    [
        RpcError(-32000, "no", {"elicitations": [LINK]}),
        RpcError(-32042, "no", None),
        RpcError(-32042, "no", {"elicitations": LINK}),
        required(),
        required(LINK, "text"),
        required({"url": 1}),
        required(*[LINK] * (MAX_LINKS + 1)),
    ],
)
def test_any_other_error_is_left_as_it_is(error: RpcError) -> None:
    assert links_of(error, "calc") is None


def test_a_round_of_a_modern_server_is_none_of_links() -> None:
    assert not is_links(InputRequired({}, "s"))


@pytest.mark.parametrize(
    "params",
    [
        {"arguments": b"{}"},
        {"inputResponses": b'{"q":{"action":"decline"}}'},
        {"inputResponses": b'["hub-link-1"]'},
        {"inputResponses": b'{"hub-link-1":{},"q":{}}'},
    ],
)
def test_answers_to_anything_else_stay(params: RawObject) -> None:
    assert without_links(params) is params


def test_accepted_links_are_the_hubs_to_read() -> None:
    params = {"a": b"1", "inputResponses": b'{"hub-link-1":{"action":"accept"}}'}
    assert without_links(params) == {"a": b"1"}


@pytest.mark.parametrize("answer", ['{"action":"decline"}', '"accept"', "{}"])
def test_one_link_that_is_not_accepted_ends_the_call(answer: str) -> None:
    given = f'{{"hub-link-1":{{"action":"accept"}},"hub-link-2":{answer}}}'
    with pytest.raises(DeclinedError) as caught:
        without_links({"inputResponses": given.encode()})
    assert caught.value.code == "link_declined"
