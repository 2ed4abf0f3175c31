"""Annotations of arguments that become headers."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.adapters.inbound.mcp.mirrors import (
    Mirror,
    decode_header,
    fault_in,
    mirrors_of,
)


def tool(**properties: Any) -> dict[str, Any]:
    return {"inputSchema": {"type": "object", "properties": properties}}


def base64_form(value: str) -> str:
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_value_can_travel_in_base64(value: str) -> None:
    assert decode_header(base64_form(value)) == value


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_plain_values_are_taken_as_they_are(value: str) -> None:
    if not value.startswith("=?"):
        assert decode_header(value) == value


@pytest.mark.parametrize("header", ["ä", "a\x7f", "a\x00", "=?base64?=?=", "=?base64?YQ?="])
def test_a_broken_value_is_none_at_all(header: str) -> None:
    assert decode_header(header) is None


@pytest.mark.parametrize(
    "schema",
    [
        tool(a={"type": "number", "x-mcp-header": "A"}),
        tool(a={"type": ["string", "null"], "x-mcp-header": "A"}),
        tool(a={"type": "array", "x-mcp-header": "A"}),
        tool(a={"x-mcp-header": "A"}),
        tool(a={"type": "string", "x-mcp-header": ""}),
        tool(a={"type": "string", "x-mcp-header": "a b"}),
        tool(a={"type": "string", "x-mcp-header": "a\r\nb"}),
        tool(a={"type": "string", "x-mcp-header": 7}),
        tool(
            a={"type": "string", "x-mcp-header": "Same"},
            b={"type": "string", "x-mcp-header": "same"},
        ),
        tool(a={"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}),
        tool(a={"anyOf": [{"type": "string", "x-mcp-header": "A"}]}),
        {"inputSchema": {"type": "object", "x-mcp-header": "A"}},
        {"inputSchema": {"$defs": {"d": {"type": "string", "x-mcp-header": "A"}}}},
    ],
)
def test_an_unsound_annotation_is_found(schema: dict[str, Any]) -> None:
    assert fault_in(schema) is not None
    assert mirrors_of(schema) == ()


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"inputSchema": True},
        tool(a={"type": "string"}),
        tool(a={"type": "string", "default": {"x-mcp-header": "no schema"}}),
        tool(**{"x-mcp-header": {"type": "string"}}),
    ],
)
def test_what_is_no_annotation_does_no_harm(schema: dict[str, Any]) -> None:
    assert fault_in(schema) is None
    assert mirrors_of(schema) == ()


def test_annotations_are_found_along_properties() -> None:
    schema = tool(
        a={
            "type": "object",
            "properties": {"b": {"type": "string", "x-mcp-header": "X-B"}},
        }
    )
    assert fault_in(schema) is None
    assert mirrors_of(schema) == (Mirror(b"mcp-param-x-b", ("a", "b")),)
