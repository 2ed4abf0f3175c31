"""What requests of 2026-07-28 must carry, and that headers say what the body says."""

import base64
import json
from typing import Any

import pytest

from agenthub.adapters.inbound.mcp.envelope import FaultyMessageError, Request, parse
from agenthub.adapters.inbound.mcp.modern import (
    check_modern_headers,
    check_modern_meta,
    speaks_modern,
)

PREFIX = "io.modelcontextprotocol/"
META = {f"{PREFIX}protocolVersion": "2026-07-28", f"{PREFIX}clientCapabilities": {}}
TOOL = {
    "name": "run",
    "inputSchema": {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "count": {"type": "integer", "x-mcp-header": "Count"},
            "dry": {"type": "boolean", "x-mcp-header": "Dry"},
            "deep": {
                "type": "object",
                "properties": {"id": {"type": "string", "x-mcp-header": "Deep-Id"}},
            },
        },
    },
}


def call(
    name: Any = "run", method: str = "tools/call", meta: dict[str, Any] | None = None, **args: Any
) -> Request:
    params = {"name": name, "arguments": args, "_meta": META if meta is None else meta}
    if method == "resources/read":
        params["uri"] = params.pop("name")
    body = json.dumps({"jsonrpc": "2.0", "id": 9, "method": method, "params": params})
    message = parse(body.encode())
    assert isinstance(message, Request)
    return message


def headers(**others: str) -> list[tuple[bytes, bytes]]:
    sent = {
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "run",
        "accept": "*/*",
        **{name.replace("_", "-"): value for name, value in others.items()},
    }
    return [(name.encode(), value.encode("latin-1")) for name, value in sent.items() if value]


def refused(
    request: Request, sent: list[tuple[bytes, bytes]], tool: dict[str, Any] | None = None
) -> FaultyMessageError:
    with pytest.raises(FaultyMessageError) as caught:
        check_modern_headers(sent, request, tool)
    assert (caught.value.status, caught.value.raw_id) == (400, b"9")
    return caught.value


def encoded(value: str) -> str:
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("protocolVersion", None),
        ("protocolVersion", 7),
        ("clientCapabilities", None),
        ("clientCapabilities", []),
        ("clientInfo", "me"),
        ("logLevel", "loud"),
        ("logLevel", {}),
    ],
)
def test_required_meta_is_demanded(change: str, value: Any) -> None:
    meta = {**META, f"{PREFIX}{change}": value}
    with pytest.raises(FaultyMessageError) as caught:
        check_modern_meta(call(meta=meta))
    assert (caught.value.code, caught.value.status, caught.value.raw_id) == (-32602, 400, b"9")


def test_complete_meta_names_the_revision() -> None:
    meta = {**META, f"{PREFIX}clientInfo": {"name": "c"}, f"{PREFIX}logLevel": "info"}
    assert check_modern_meta(call(meta=meta)) == "2026-07-28"


def test_headers_that_mirror_the_body_pass() -> None:
    check_modern_headers(headers(), call())
    check_modern_headers(headers(mcp_method="prompts/get"), call(method="prompts/get"))
    check_modern_headers(
        headers(mcp_method="resources/read", mcp_name="a://b"), call("a://b", "resources/read")
    )


def test_a_name_may_come_in_base64() -> None:
    check_modern_headers(headers(mcp_name=encoded("größe")), call("größe"))
    check_modern_headers(headers(mcp_name=encoded("run")), call())


def test_a_name_that_looks_encoded_must_be_encoded() -> None:
    name = "=?base64?cnVu?="
    check_modern_headers(headers(mcp_name=encoded(name)), call(name))
    assert refused(call(name), headers(mcp_name=name)).code == -32020


@pytest.mark.parametrize(
    "change",
    [
        {"mcp_protocol_version": ""},
        {"mcp_protocol_version": "2025-11-25"},
        {"mcp_method": ""},
        {"mcp_method": "Tools/Call"},
        {"mcp_method": encoded("tools/call")},
        {"mcp_name": ""},
        {"mcp_name": "other"},
        {"mcp_name": "r\xfcn"},
        {"mcp_name": "=?base64?%%%?="},
        {"mcp_name": "=?base64?cnV?="},
        {"mcp_name": "=?base64?/w==?="},
    ],
)
def test_a_header_that_differs_or_is_missing_is_a_mismatch(change: dict[str, str]) -> None:
    assert refused(call(), headers(**change)).code == -32020


@pytest.mark.parametrize(
    "header", [b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"mcp-param-x"]
)
def test_a_header_sent_twice_is_a_mismatch(header: bytes) -> None:
    twice = [*headers(), (header, b"run"), (header, b"run")]
    assert refused(call(), twice).code == -32020


def test_a_name_with_other_characters_must_be_encoded() -> None:
    assert refused(call("r\xfcn"), headers(mcp_name="r\xfcn")).code == -32020


def test_an_unknown_revision_is_named_after_the_mismatches() -> None:
    meta = {**META, f"{PREFIX}protocolVersion": "2031-01-01"}
    assert refused(call(meta=meta), headers()).code == -32020
    error = refused(call(meta=meta), headers(mcp_protocol_version="2031-01-01"))
    assert error.code == -32022
    assert error.data == {"supported": ["2026-07-28"], "requested": "2031-01-01"}


def test_blanks_around_a_header_do_not_count() -> None:
    """As HTTP has it (RFC 9110, 5.5); some servers hand them on."""
    sent = headers(
        mcp_protocol_version=" 2026-07-28",
        mcp_method="tools/call\t",
        mcp_name=f" {encoded('run')}  ",
        mcp_param_region=" us west ",
        mcp_param_count="\t42",
    )
    check_modern_headers(sent, call(region="us west", count=42), TOOL)


def test_blanks_inside_a_value_do_count() -> None:
    assert refused(call("run "), headers(mcp_name="run ")).code == -32020
    check_modern_headers(headers(mcp_name=encoded("run ")), call("run "))


def test_annotated_arguments_are_mirrored() -> None:
    request = call(region="us west", count=42, dry=True, deep={"id": "ä"})
    sent = headers(
        mcp_param_region="us west",
        mcp_param_count="42",
        mcp_param_dry="true",
        mcp_param_deep_id=encoded("ä"),
    )
    check_modern_headers(sent, request, TOOL)


def test_integers_compare_as_numbers() -> None:
    check_modern_headers(headers(mcp_param_count="42.0"), call(count=42), TOOL)
    check_modern_headers(headers(mcp_param_count="42"), call(count=42.0), TOOL)


def test_an_argument_that_is_null_or_absent_has_no_header() -> None:
    check_modern_headers(headers(), call(region=None, deep=7), TOOL)
    assert refused(call(), headers(mcp_param_region="x"), TOOL).code == -32020


@pytest.mark.parametrize(
    ("args", "sent"),
    [
        ({"region": "a"}, {}),
        ({"region": "a"}, {"mcp_param_region": "b"}),
        ({"count": 42}, {"mcp_param_count": "43"}),
        ({"count": 42}, {"mcp_param_count": "4e1"}),
        ({"count": 1}, {"mcp_param_count": "true"}),
        ({"dry": True}, {"mcp_param_dry": "True"}),
        ({"dry": True}, {"mcp_param_dry": "1"}),
        ({"region": ["a"]}, {"mcp_param_region": "a"}),
    ],
)
def test_an_argument_that_its_header_denies_is_a_mismatch(
    args: dict[str, Any], sent: dict[str, str]
) -> None:
    assert refused(call(**args), headers(**sent), TOOL).code == -32020


def test_unrecognised_param_headers_are_ignored() -> None:
    check_modern_headers(headers(mcp_param_other="x"), call(), TOOL)


@pytest.mark.parametrize(
    ("method", "meta", "version", "modern"),
    [
        ("tools/list", META, "2026-07-28", True),
        ("tools/list", META, None, True),
        ("tools/list", {}, "2026-07-28", True),
        ("tools/list", {}, "2025-11-25", False),
        ("tools/list", {}, None, False),
        ("tools/list", {}, " 2026-07-28 ", True),
        ("initialize", {}, None, False),
        ("initialize", {}, "2025-11-25", False),
        ("initialize", {f"{PREFIX}protocolVersion": "2025-11-25"}, None, False),
        ("initialize", {f"{PREFIX}protocolVersion": 7}, None, False),
        ("initialize", {}, "2026-07-28", True),
        ("initialize", META, None, True),
        ("server/discover", {}, None, True),
    ],
)
def test_the_era_is_seen_from_the_request(
    method: str, meta: dict[str, Any], version: str | None, modern: bool
) -> None:
    sent = [] if version is None else [(b"mcp-protocol-version", version.encode())]
    assert speaks_modern(sent, call(method=method, meta=meta)) is modern
