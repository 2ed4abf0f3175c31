"""Reading what a server offers: whole where it is sound, bounded and flagged where it is not."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agenthub.adapters.outbound.mcp_client.channel import Channel, Hello
from agenthub.adapters.outbound.mcp_client.reading import Reader, Shelf
from agenthub.domain.entities.catalog.listing import Catalog, CatalogBounds, ItemKind
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.exceptions import RpcError, UnavailableError, UpstreamError
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject

EVERYTHING = {"tools": {}, "resources": {}, "prompts": {}}
SCHEMA: dict[str, Any] = {"type": "object"}


class ListingChannel(Channel):
    """Answers lists by `pages[method]`: a result, a function of the cursor, or an error."""

    era = Era.MODERN

    def __init__(self, capabilities: dict[str, Any] | None = None, **pages: Any) -> None:
        self.hello = Hello("2026-07-28", EVERYTHING if capabilities is None else capabilities)
        self.pages = {name.replace("_", "/", 1).replace("_", "/"): v for name, v in pages.items()}
        self.asked: list[str] = []

    async def request(
        self,
        method: str,
        params: RawObject,
        *,
        meta: RawObject,
        caller: Caller | None,
        timeout_s: float,
        header_params: dict[str, str] | None = None,
    ) -> bytes:
        self.asked.append(method)
        page = self.pages.get(method)
        cursor = json.loads(params["cursor"]) if "cursor" in params else None
        if isinstance(page, Exception):
            raise page
        if page is None:
            raise RpcError(-32601, "Method not found")
        answer = page(cursor) if callable(page) else page
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    async def notify(self, method: str, params: RawObject) -> None: ...

    async def wait_closed(self) -> None: ...


def tool(name: Any = "t", **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": SCHEMA, **more}


def tools(*listed: Any, **more: Any) -> dict[str, Any]:
    return {"tools": list(listed), **more}


async def shelf_of(
    channel: Channel,
    *,
    bounds: CatalogBounds | None = None,
    with_headers: bool = False,
    former: Shelf | None = None,
) -> Shelf:
    reader = Reader(server="srv", bounds=bounds or CatalogBounds(), with_headers=with_headers)
    return await reader.read(channel, former or Shelf(), tuple(ItemKind))


async def read_tools(*listed: Any, **options: Any) -> Catalog:
    channel = ListingChannel({"tools": {}}, tools_list=tools(*listed))
    return (await shelf_of(channel, **options)).catalog()


def names(catalog: Catalog, kind: ItemKind = ItemKind.TOOLS) -> list[str]:
    return [item.key for item in catalog.of(kind)]


async def test_all_four_lists_are_read() -> None:
    channel = ListingChannel(
        tools_list=tools(tool("a"), tool("b")),
        resources_list={"resources": [{"uri": "x://1", "name": "one"}]},
        resources_templates_list={"resourceTemplates": [{"uriTemplate": "x://{n}", "name": "n"}]},
        prompts_list={"prompts": [{"name": "p", "arguments": [{"name": "who"}]}]},
    )
    catalog = (await shelf_of(channel)).catalog()
    assert [names(catalog, kind) for kind in ItemKind] == [
        ["a", "b"],
        ["x://1"],
        ["x://{n}"],
        ["p"],
    ]
    assert catalog.flags == ()


async def test_only_what_is_declared_is_asked_for() -> None:
    channel = ListingChannel({"tools": {}}, tools_list=tools())
    await shelf_of(channel)
    assert channel.asked == ["tools/list"]


async def test_a_list_that_is_not_known_is_empty() -> None:
    channel = ListingChannel(tools_list=tools(tool("a")))
    catalog = (await shelf_of(channel)).catalog()
    assert catalog.counts() == {"tools": 1, "resources": 0, "resource_templates": 0, "prompts": 0}
    assert catalog.flags == ()


async def test_pages_are_followed_to_the_end() -> None:
    def page(cursor: str | None) -> dict[str, Any]:
        number = int(cursor or 0)
        more = {"nextCursor": str(number + 1)} if number < 4 else {"nextCursor": None}
        return tools(tool(f"t{number}"), **more)

    channel = ListingChannel({"tools": {}}, tools_list=page)
    assert names((await shelf_of(channel)).catalog()) == ["t0", "t1", "t2", "t3", "t4"]


@pytest.mark.parametrize(
    ("next_cursor", "bounds", "asked"),
    [
        (lambda _: "same", CatalogBounds(), 2),
        (lambda cursor: f"{cursor}x", CatalogBounds(max_pages=7), 7),
        (lambda cursor: f"{cursor}x", CatalogBounds(max_items=5), 6),
        (lambda cursor: f"{cursor}x", CatalogBounds(max_list_bytes=300), 7),
        (lambda _: 7, CatalogBounds(), 1),
    ],
)
async def test_a_list_without_end_is_cut_and_flagged(
    next_cursor: Callable[[Any], Any], bounds: CatalogBounds, asked: int
) -> None:
    def page(cursor: str | None) -> dict[str, Any]:
        return tools(tool(f"t{len(channel.asked)}"), nextCursor=next_cursor(cursor))

    channel = ListingChannel({"tools": {}}, tools_list=page)
    catalog = (await shelf_of(channel, bounds=bounds)).catalog()
    assert len(channel.asked) == asked
    assert len(catalog.flags) == 1
    assert catalog.of(ItemKind.TOOLS)


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"a": schema}
    return schema


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (tool(""), "blank"),
        (tool("  "), "blank"),
        (tool(7), "no text"),
        (tool("a\nb"), "control"),
        (tool("x" * 3000), "characters"),
        ({"inputSchema": SCHEMA}, "no name"),
        ({"name": "t"}, "no inputSchema"),
        (tool(inputSchema=[]), "inputSchema"),
        (tool(inputSchema=None), "inputSchema"),
        (tool(description=5), "description"),
        (tool(annotations="x"), "annotations"),
        ("tool", "no object"),
        (None, "no object"),
        (tool(description="x" * 300_000), "larger"),
        (tool(inputSchema=deep(65)), "nested"),
        (tool(inputSchema={"$ref": "https://evil.test/s.json"}), "$ref"),
        (tool(inputSchema={"a": [{"$ref": " HTTP://evil.test"}]}), "$ref"),
        (tool(outputSchema={"x": {"$ref": "file:///etc/passwd"}}), "$ref"),
        (tool(inputSchema={"$dynamicRef": "//evil.test/s"}), "$ref"),
    ],
)
async def test_an_unfit_tool_is_left_out_and_flagged(bad: Any, why: str) -> None:
    catalog = await read_tools(tool("before"), bad, tool("after"))
    assert names(catalog) == ["before", "after"]
    assert len(catalog.flags) == 1
    assert why in catalog.flags[0]


@pytest.mark.parametrize(
    "good",
    [
        tool("t", inputSchema={"$schema": "http://json-schema.org/draft-07/schema#"}),
        tool("t", inputSchema={"properties": {"$ref": {"type": "string"}}}),
        tool("t", inputSchema={"$ref": "#/$defs/a", "$defs": {"a": {}}}),
        tool("t", inputSchema=deep(64)),
        tool("t", title=None, description=None),
        tool("ünïcödé 工具"),
    ],
)
async def test_a_sound_tool_is_kept(good: dict[str, Any]) -> None:
    catalog = await read_tools(good)
    assert names(catalog) == [good["name"]]
    assert catalog.flags == ()


@pytest.mark.parametrize(
    "text",
    [
        b'{"name":"t","inputSchema":{},"x":1e999}',
        b'{"name":"t","inputSchema":{},"x":NaN}',
        b'{"name":"t","name":"u","inputSchema":{}}',
        b'{"name":"\\ud800","inputSchema":{}}',
        b'{"name":"t","inputSchema":{},"x":' + b"[" * 500 + b"]" * 500 + b"}",
    ],
)
async def test_text_that_clients_could_not_read_is_never_kept(text: bytes) -> None:
    channel = ListingChannel({"tools": {}}, tools_list=b'{"tools":[' + text + b"]}")
    catalog = (await shelf_of(channel)).catalog()
    assert names(catalog) == []
    assert len(catalog.flags) == 1


async def test_of_two_with_one_name_the_first_counts() -> None:
    catalog = await read_tools(tool("a", title="first"), tool("a", title="second"))
    assert [item.definition["title"] for item in catalog.of(ItemKind.TOOLS)] == ["first"]
    assert "twice" in catalog.flags[0]


async def test_flags_are_bounded_and_the_rest_counted() -> None:
    catalog = await read_tools(*[tool("") for _ in range(500)])
    assert len(catalog.flags) == 21
    assert "480 faults more" in catalog.flags[-1]


async def test_private_meta_is_taken_out_and_the_rest_kept() -> None:
    private = "io.modelcontextprotocol/serverInfo"
    catalog = await read_tools(
        tool("a", _meta={private: {}, "ui": {"resourceUri": "ui://x"}}),
        tool("b", _meta={private: 1}),
    )
    first, second = catalog.of(ItemKind.TOOLS)
    assert first.definition["_meta"] == {"ui": {"resourceUri": "ui://x"}}
    assert "_meta" not in second.definition


@pytest.mark.parametrize(("with_headers", "kept"), [(True, ["good"]), (False, ["good", "bad"])])
async def test_header_annotations_matter_only_where_there_are_headers(
    with_headers: bool, kept: list[str]
) -> None:
    def annotated(name: str, header: str) -> dict[str, Any]:
        city = {"type": "string", "x-mcp-header": header}
        return tool(name, inputSchema={"type": "object", "properties": {"city": city}})

    channel = ListingChannel(
        {"tools": {}}, tools_list=tools(annotated("good", "City"), annotated("bad", "Ci\r\nty"))
    )
    shelf = await shelf_of(channel, with_headers=with_headers)
    assert names(shelf.catalog()) == kept
    assert (shelf.annotated_tool("good") is not None) == with_headers


@pytest.mark.parametrize(
    "fault",
    [
        UnavailableError("gone"),
        UpstreamError("odd"),
        RpcError(-32603, "internal"),
        {"tools": "none"},
        {},
        [],
    ],
)
async def test_a_list_that_fails_stays_as_it_was_and_is_flagged(fault: Any) -> None:
    channel = ListingChannel(
        tools_list=tools(tool("old")), prompts_list={"prompts": [{"name": "old"}]}
    )
    former = await shelf_of(channel)
    channel.pages["tools/list"] = fault
    channel.pages["prompts/list"] = {"prompts": [{"name": "new"}]}
    catalog = (await shelf_of(channel, former=former)).catalog()
    assert (names(catalog), names(catalog, ItemKind.PROMPTS)) == (["old"], ["new"])
    assert len(catalog.flags) == 1
    assert "tools/list" in catalog.flags[0]


async def test_a_big_list_is_read_whole() -> None:
    listed = [tool(f"t{number}", description="d" * 500) for number in range(3000)]
    catalog = await read_tools(*listed)
    assert len(names(catalog)) == 3000
    bounded = await read_tools(*listed, bounds=replace(CatalogBounds(), max_items=100))
    assert len(names(bounded)) == 100


async def test_a_cursor_that_cannot_be_read_ends_the_list_with_a_flag() -> None:
    page = b'{"tools":[{"name":"t","inputSchema":{"type":"object"}}],"nextCursor":1e400}'
    catalog = (await shelf_of(ListingChannel({"tools": {}}, tools_list=page))).catalog()
    assert [item.key for item in catalog.items[ItemKind.TOOLS]] == ["t"]
    assert "cursor" in catalog.flags[0]
