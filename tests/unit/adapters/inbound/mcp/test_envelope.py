"""Messages of agents: read strictly, handed on untouched."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.adapters.inbound.mcp.envelope import (
    MAX_SEPARATORS,
    FaultyMessageError,
    Notification,
    Request,
    Response,
    parse,
)
from agenthub.domain.exceptions import RpcError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        name: JSON | st.sampled_from(["2.0", "tools/call", 1])
        for name in ("jsonrpc", "id", "method", "params", "result", "error", "Method")
    },
)


def request(**members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", **members}).encode()


def refused(body: bytes) -> FaultyMessageError:
    with pytest.raises(FaultyMessageError) as caught:
        parse(body)
    assert caught.value.status == 400
    return caught.value


def taken(body: bytes) -> Request:
    message = parse(body)
    assert isinstance(message, Request)
    return message


def code_of(body: bytes) -> int | None:
    """Give the code of the error that a body meets with, None for a message."""
    try:
        message = parse(body)
    except FaultyMessageError as error:
        return error.code
    return None if isinstance(message, Request | Notification | Response) else 0


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_message_or_a_clean_error(body: bytes) -> None:
    assert code_of(body) in (None, -32700, -32600, -32602)


@given(NEARLY)
def test_arbitrary_objects_are_a_message_or_a_clean_error(members: dict[str, Any]) -> None:
    assert code_of(json.dumps(members).encode()) in (None, -32600, -32602)


@given(JSON)
def test_arguments_are_handed_on_as_they_were_written(arguments: Any) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments": %b }}'
    written = json.dumps(arguments, indent=1).encode()
    assert taken(body % written).params["arguments"] == written


@pytest.mark.parametrize(
    "number", ["1", "1.0", "1e2", "-0", "-0.0", "123456789012345678901234567890", "0.1000", "1E-7"]
)
def test_a_number_keeps_its_spelling(number: str) -> None:
    body = f'{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"n":{number}}}}}'.encode()
    assert taken(body).params["n"] == number.encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xef\xbb\xbf{}",
        request() + b" x",
        b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":{"b":1,"b":2}}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1,"\\u0061":2}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":NaN}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":-Infinity}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1e999}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":[{"a":-1E+400}]}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1%b.0}}' % (b"0" * 400),
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":%b}}' % (b"9" * 4301),
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\\ud800"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"\\udfff":1}}',
        b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":%b1%b}}' % (b"[" * 250, b"]" * 250),
        b"[" * 100_000,
    ],
)
def test_what_is_no_strict_json_is_a_parse_error(body: bytes) -> None:
    error = refused(body)
    assert (error.code, error.raw_id) == (-32700, b"null")


@pytest.mark.parametrize("text", ["1e999 is large", "9" * 400])
def test_large_numbers_in_texts_are_no_numbers(text: str) -> None:
    assert taken(request(params={"text": text, "n": 1.5})).values["text"] == text


@pytest.mark.parametrize("body", [b"[]", b"[" + request() + b"]", b'"ping"', b"7", b"null"])
def test_only_a_single_object_is_taken(body: bytes) -> None:
    assert refused(body).code == -32600


@pytest.mark.parametrize(
    "members",
    [
        {"jsonrpc": "1.0"},
        {"jsonrpc": 2.0},
        {"method": 7},
        {"method": ""},
        {"method": None},
        {"method": "m" * 257},
        {"Method": "tools/call"},
        {"PARAMS": {}},
        {"result": {}},
        {"error": {"code": 1, "message": "x"}},
    ],
)
def test_a_malformed_request_is_refused_under_its_id(members: dict[str, Any]) -> None:
    error = refused(request(**members))
    assert (error.code, error.raw_id) == (-32600, b"1")


@pytest.mark.parametrize("bad", [None, 1.5, 1.0, True, [], {}, "x" * 300])
def test_an_id_is_a_string_or_an_integer(bad: Any) -> None:
    assert refused(request(id=bad)).code == -32600


@pytest.mark.parametrize(
    "raw_id", [b"0", b"-7", b'"a b"', b'"\\u00e9"', b"12345678901234567890123"]
)
def test_an_id_is_echoed_as_it_came(raw_id: bytes) -> None:
    assert taken(b'{"jsonrpc":"2.0","id":%b,"method":"ping"}' % raw_id).id == raw_id


@pytest.mark.parametrize("params", [[], "x", 7, None, True])
def test_params_are_an_object(params: Any) -> None:
    error = refused(request(params=params))
    assert (error.code, error.raw_id) == (-32602, b"1")


@pytest.mark.parametrize("meta", [[], "x", None])
def test_meta_is_an_object(meta: Any) -> None:
    assert refused(request(params={"_meta": meta})).code == -32602


@pytest.mark.parametrize("token", [None, 1.5, True, [], {}])
def test_a_progress_token_is_a_string_or_an_integer(token: Any) -> None:
    assert refused(request(params={"_meta": {"progressToken": token}})).code == -32602


def test_meta_is_split_into_the_hops_own_and_the_callers() -> None:
    message = taken(
        request(
            params={
                "name": "a",
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientInfo": {"name": "c"},
                    "io.modelcontextprotocol/clientCapabilities": {"sampling": {}},
                    "io.modelcontextprotocol/logLevel": "info",
                    "io.modelcontextprotocol/other": 1,
                    "progressToken": "p",
                    "traceparent": "00-1",
                },
            }
        )
    )
    assert message.params == {"name": b'"a"'}
    assert message.values == {"name": "a"}
    assert message.meta.protocol_version == "2026-07-28"
    assert message.meta.client_info == {"name": "c"}
    assert message.meta.capabilities == {"sampling": {}}
    assert message.meta.log_level == "info"
    assert message.meta.progress_token == b'"p"'
    assert message.meta.own == {"traceparent": b'"00-1"'}


def test_a_message_without_id_is_a_notification() -> None:
    message = parse(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    assert isinstance(message, Notification)


def test_a_response_carries_its_result_as_written() -> None:
    message = parse(b'{"jsonrpc":"2.0","id":"q","result":{"n":1.0}}')
    assert isinstance(message, Response)
    assert (message.id, message.outcome) == (b'"q"', b'{"n":1.0}')


def test_a_response_may_be_an_error() -> None:
    message = parse(b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no","data":[1]}}')
    assert isinstance(message, Response)
    assert isinstance(message.outcome, RpcError)
    assert (message.outcome.code, message.outcome.data) == (-1, [1])


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b',"id":1',
        b',"result":{}',
        b',"id":1,"result":[]',
        b',"id":1,"result":{},"error":{"code":1,"message":"m"}',
        b',"id":1,"error":7',
        b',"id":1,"error":{"code":"1","message":"m"}',
        b',"id":1,"error":{"code":true,"message":"m"}',
        b',"id":1,"error":{"code":1}',
    ],
)
def test_an_incomplete_response_is_refused(rest: bytes) -> None:
    assert refused(b'{"jsonrpc":"2.0"%b}' % rest).code == -32600


@pytest.mark.parametrize(
    ("more", "values"),
    [
        (MAX_SEPARATORS, lambda n: [0] * n),
        (MAX_SEPARATORS, lambda n: ["a,b"] * n),
        (MAX_SEPARATORS, lambda n: ['"\\'] * n),
        (MAX_SEPARATORS // 2, lambda n: {f"{i}": i for i in range(n)}),
        (MAX_SEPARATORS // 2, lambda n: [{"": ""}] * n),
    ],
)
def test_more_values_than_can_be_read_soon_are_refused(more: int, values: Any) -> None:
    few = parse(request(params={"a": values(more - 20)}))
    assert isinstance(few, Request)

    with pytest.raises(FaultyMessageError) as caught:
        parse(request(params={"a": values(more + 20)}))
    assert (caught.value.code, caught.value.status) == (-32600, 413)


@pytest.mark.parametrize(
    "text",
    ["a,b:" * MAX_SEPARATORS, json.dumps([{"a": 1, "b\\": "\\"}] * MAX_SEPARATORS)],
)
def test_long_texts_may_hold_any_number_of_commas(text: str) -> None:
    message = parse(request(params={"a": text}))
    assert isinstance(message, Request)
    assert message.values == {"a": text}
