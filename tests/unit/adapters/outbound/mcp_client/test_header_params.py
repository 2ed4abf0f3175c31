"""Headers made of arguments: the examples and constraints of the specification."""

from typing import Any

import pytest

from agenthub.adapters.outbound.mcp_client.header_params import (
    header_faults,
    header_value,
    params_headers,
)


def tool(**properties: Any) -> dict[str, Any]:
    return {"name": "t", "inputSchema": {"type": "object", "properties": properties}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("us-west1", "us-west1"),
        ("a b", "a b"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ("", "=?base64??="),
        ("a\r\nX-Evil: 1", "=?base64?YQ0KWC1FdmlsOiAx?="),
        ("tab\tinside", "=?base64?dGFiCWluc2lkZQ==?="),
    ],
)
def test_values_are_spelt_as_the_specification_says(text: str, value: str) -> None:
    assert header_value(text) == value


def test_annotated_arguments_become_headers() -> None:
    definition = tool(
        region={"type": "string", "x-mcp-header": "Region"},
        count={"type": "integer", "x-mcp-header": "Count"},
        dry={"type": "boolean", "x-mcp-header": "Dry"},
        gone={"type": "string", "x-mcp-header": "Gone"},
        nothing={"type": "string", "x-mcp-header": "Nothing"},
        wrong={"type": "string", "x-mcp-header": "Wrong"},
        deep={"type": "object", "properties": {"in": {"type": "string", "x-mcp-header": "In"}}},
    )
    arguments = {
        "region": "é",
        "count": 42.0,
        "dry": False,
        "nothing": None,
        "wrong": [1],
        "deep": {"in": "x"},
        "other": "y",
    }
    assert header_faults(definition) is None
    assert params_headers(definition, arguments) == {
        "Mcp-Param-Region": "=?base64?w6k=?=",
        "Mcp-Param-Count": "42",
        "Mcp-Param-Dry": "false",
        "Mcp-Param-In": "x",
    }
    assert params_headers(definition, {"deep": "no object"}) == {}


STRING = {"type": "string", "x-mcp-header": "A"}


@pytest.mark.parametrize(
    "definition",
    [
        tool(a={"type": "string", "x-mcp-header": ""}),
        tool(a={"type": "string", "x-mcp-header": 5}),
        tool(a={"type": "string", "x-mcp-header": "a b"}),
        tool(a={"type": "string", "x-mcp-header": "a\r\nb"}),
        tool(a={"type": "string", "x-mcp-header": "é"}),
        tool(a={"type": "number", "x-mcp-header": "A"}),
        tool(a={"type": "object", "x-mcp-header": "A"}),
        tool(a={"x-mcp-header": "A"}),
        tool(a=STRING, b={"type": "string", "x-mcp-header": "a"}),
        tool(a={"type": "array", "items": STRING}),
        tool(a={"anyOf": [STRING]}),
        tool(a={"type": "object", "allOf": [{"properties": {"b": STRING}}]}),
        {"inputSchema": {"$defs": {"d": STRING}, "properties": {}}},
        {"inputSchema": {"if": {"properties": {"a": STRING}}}},
        {"inputSchema": STRING},
    ],
)
def test_an_invalid_annotation_makes_the_tool_unusable(definition: dict[str, Any]) -> None:
    assert header_faults(definition) is not None


@pytest.mark.parametrize(
    "definition",
    [
        {},
        tool(),
        tool(a={"type": "string", "default": {"x-mcp-header": "A"}}),
        tool(**{"x-mcp-header": {"type": "string"}}),
        {"inputSchema": True},
    ],
)
def test_what_is_no_annotation_is_none(definition: dict[str, Any]) -> None:
    assert header_faults(definition) is None
    assert params_headers(definition, {"a": "b"}) == {}
