"""JSON-RPC messages of the client side: framing, reading, and what may not pass."""

import json

import pytest

from agenthub.adapters.outbound.mcp_client.messages import (
    Failure,
    Notification,
    Request,
    Result,
    error_bytes,
    notification_bytes,
    parse,
    parse_all,
    request_bytes,
    result_bytes,
    tidy_result,
)
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.exceptions import RpcError, UpstreamError
from agenthub.domain.ports.outbound.mcp_client import Question


def wrapped(value: str) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"result":{"x":' + value.encode() + b"}}"


def test_a_request_carries_values_untouched() -> None:
    raw = request_bytes(7, "tools/call", {"name": b'"a"', "arguments": b'{"n": 1.0}'}, {})
    assert raw.count(b'{"n": 1.0}') == 1
    assert json.loads(raw) == {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {"name": "a", "arguments": {"n": 1.0}},
    }


def test_meta_becomes_a_member_of_the_params() -> None:
    raw = request_bytes(1, "tools/list", {}, {"progressToken": b"1", 'odd"key': b"null"})
    assert json.loads(raw)["params"] == {"_meta": {"progressToken": 1, 'odd"key': None}}


def test_notifications_and_replies_are_framed() -> None:
    note = json.loads(notification_bytes("notifications/x", {"a": b"1"}))
    assert note == {"jsonrpc": "2.0", "method": "notifications/x", "params": {"a": 1}}
    assert json.loads(result_bytes(b'"q"', b"{}")) == {"jsonrpc": "2.0", "id": "q", "result": {}}
    error = json.loads(error_bytes(b"5", RpcError(-32603, "no", {"a": 1})))["error"]
    assert error == {"code": -32603, "message": "no", "data": {"a": 1}}


def test_a_result_is_handed_on_byte_for_byte() -> None:
    result = b'{ "content" : [1e400, 12345678901234567890123, "\xc3\xa9\\u00e9"] }'
    message = parse(b'{"jsonrpc":"2.0","id":"a","result":' + result + b"}")
    assert message == Result(b'"a"', result)


def test_an_error_keeps_code_message_and_data() -> None:
    message = parse(b'{"jsonrpc":"2.0","id":null,"error":{"code":-5,"message":"m","data":[1]}}')
    assert isinstance(message, Failure)
    assert message.id == b"null"
    assert (message.error.code, message.error.message, message.error.data) == (-5, "m", [1])


def test_requests_and_notifications_are_told_apart() -> None:
    asked = parse(b'{"jsonrpc":"2.0","id":0,"method":"ping"}')
    assert asked == Request(b"0", "ping", b"{}")
    told = parse(b'{"jsonrpc":"2.0","method":"n","params":{"a":{"b":1}}}')
    assert told == Notification("n", {"a": b'{"b":1}'})


def test_a_batch_is_several_messages() -> None:
    raw = b' [{"jsonrpc":"2.0","method":"n"},{"jsonrpc":"2.0","id":1,"result":{}}]'
    assert parse_all(raw) == [Notification("n", {}), Result(b"1", b"{}")]
    assert parse_all(b'{"jsonrpc":"2.0","id":1,"result":{}}') == [Result(b"1", b"{}")]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html></html>",
        b"null",
        b"[1]",
        b'{"id":1,"result":{}}',
        b'{"jsonrpc":"1.0","id":1,"result":{}}',
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":1,"result":[]}',
        b'{"jsonrpc":"2.0","id":1,"result":null}',
        b'{"jsonrpc":"2.0","id":1,"error":"no"}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":"m"}}',
        b'{"jsonrpc":"2.0","method":1}',
        b'{"jsonrpc":"2.0","method":"n","params":[1]}',
        b'{"jsonrpc":"2.0","id":1,"result":{}} trailing',
        b'{"jsonrpc":"2.0","id":1,"result":{"a":"\xff"}}',
        b'{"jsonrpc":"2.0","id":1,"result":{"\xff":1}}',
        wrapped("NaN"),
        wrapped("Infinity"),
        wrapped(r'"\ud800"'),
        wrapped(r'"\udc00abcdef"'),
        wrapped("01"),
        wrapped("[1,]"),
        wrapped("[" * 300 + "]" * 300),
        wrapped('{"a":' * 300 + "1" + "}" * 300),
        wrapped("[" * 100_000 + "]" * 100_000),
        wrapped("[" * 100_000),
    ],
)
def test_what_is_no_message_is_the_servers_fault(raw: bytes) -> None:
    for read in (parse, parse_all):
        with pytest.raises(UpstreamError):
            read(raw)


def test_many_shallow_brackets_are_no_depth() -> None:
    raw = wrapped("[" + ",".join(["[{}]"] * 1000) + "]")
    assert isinstance(parse(raw), Result)


@pytest.mark.parametrize("era", list(Era))
def test_a_plain_result_passes_as_it_is(era: Era) -> None:
    raw = b'{ "content":[] , "isError":false}'
    assert tidy_result(raw, era, "s") == (raw, None)


@pytest.mark.parametrize("era", list(Era))
def test_result_type_and_private_meta_are_removed(era: Era) -> None:
    raw = (
        b'{"content":[{"_meta":{"io.modelcontextprotocol/x":1}}],"resultType":"complete",'
        b'"_meta":{"io.modelcontextprotocol/serverInfo":{},"mine":1}}'
    )
    assert tidy_result(raw, era, "s")[0] == (
        b'{"content":[{"_meta":{"io.modelcontextprotocol/x":1}}],"_meta":{"mine":1}}'
    )


def test_an_emptied_meta_disappears() -> None:
    raw = b'{"a":1,"_meta":{"io.modelcontextprotocol/serverInfo":{}}}'
    assert tidy_result(raw, Era.MODERN, "s") == (b'{"a":1}', None)


def test_an_escaped_spelling_hides_nothing() -> None:
    raw = rb'{"a":1,"\u005fmeta":{"io.modelcontextprotocol\/x":1},"resul\u0074Type":"complete"}'
    assert tidy_result(raw, Era.MODERN, "s") == (b'{"a":1}', None)


def test_input_required_comes_back_with_the_untouched_result() -> None:
    raw = (
        b'{"resultType":"input_required","requestState":"st\\u00e4te","inputRequests":'
        b'{"k":{"method":"elicitation/create","params":{"message":"hi"}}}}'
    )
    result, needed = tidy_result(raw, Era.MODERN, "srv")
    assert result == raw
    assert needed is not None
    assert needed.state == "stäte"
    assert needed.requests == {"k": Question("srv", "elicitation/create", b'{"message":"hi"}')}


@pytest.mark.parametrize(
    "raw",
    [
        b'{"resultType":"task","task":{}}',
        b'{"resultType":1}',
        b'{"resultType":"input_required"}',
        b'{"resultType":"input_required","requestState":5}',
        b'{"resultType":"input_required","inputRequests":[]}',
        b'{"resultType":"input_required","inputRequests":{"k":{}}}',
    ],
)
def test_a_result_of_an_unknown_kind_is_the_servers_fault(raw: bytes) -> None:
    with pytest.raises(UpstreamError):
        tidy_result(raw, Era.MODERN, "srv")


def test_a_legacy_result_has_no_kind() -> None:
    assert tidy_result(b'{"resultType":"task","a":1}', Era.LEGACY, "s") == (b'{"a":1}', None)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"jsonrpc":"2.0","method":1e400}',
        b'{"jsonrpc":"2.0","id":1,"method":1e400}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":1e400,"message":"m"}}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m","data":1e400}}',
        b'{"jsonrpc":"2.0","method":' + b"9" * 5000 + b"}",
    ],
)
def test_a_number_nobody_can_hold_is_the_servers_fault(raw: bytes) -> None:
    with pytest.raises(UpstreamError):
        parse(raw)


@pytest.mark.parametrize("state", [b"1e400", b"-1e400"])
def test_so_it_is_in_a_request_for_input(state: bytes) -> None:
    raw = b'{"resultType":"input_required","requestState":%b}' % state
    with pytest.raises(UpstreamError):
        tidy_result(raw, Era.MODERN, "srv")
