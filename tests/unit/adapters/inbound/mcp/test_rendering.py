"""Pages of lists: what stands in them for each revision, and how one is left for the next."""

import gc
import json
import weakref
from typing import Any

import pytest

from agenthub.adapters.inbound.mcp.rendering import KEPT_PAGES, ListRenderer
from agenthub.adapters.inbound.mcp.versions import ALL_VERSIONS, LEGACY_VERSIONS
from agenthub.domain.entities.catalog.exposure import ExposedItem, Target
from agenthub.domain.entities.catalog.listing import IDENTITY_FIELD, ItemKind
from agenthub.domain.exceptions import RpcError
from agenthub.domain.ids import EndpointId
from agenthub.domain.services.catalog.views import Offer

MODERN = "2026-07-28"
NEW = "2025-11-25"
SCHEMA = {"type": "object"}
TARGET = Target(EndpointId("e"), "time", "key")


def offer(kind: ItemKind, *definitions: dict[str, Any]) -> Offer:
    items = tuple(ExposedItem(one[IDENTITY_FIELD[kind]], one, TARGET) for one in definitions)
    return Offer({one: items if one is kind else () for one in ItemKind}, frozenset())


def tools(*names: str, **members: Any) -> Offer:
    return offer(ItemKind.TOOLS, *({"name": n, "inputSchema": SCHEMA, **members} for n in names))


def page(
    made: Offer,
    version: str = NEW,
    cursor: Any = None,
    *,
    kind: ItemKind = ItemKind.TOOLS,
    lists: ListRenderer | None = None,
) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((lists or ListRenderer()).page(made, kind, version, cursor))
    return parsed


def names(read: dict[str, Any]) -> list[str]:
    return [one["name"] for one in read["tools"]]


def test_a_page_is_made_once() -> None:
    lists, made = ListRenderer(), tools("a")
    first = lists.page(made, ItemKind.TOOLS, NEW)
    assert lists.page(made, ItemKind.TOOLS, NEW) is first
    assert lists.page(made, ItemKind.TOOLS, MODERN) is not first
    assert lists.page(tools("a"), ItemKind.TOOLS, NEW) is not first


def test_pages_go_with_their_snapshot() -> None:
    lists, made = ListRenderer(), tools("a")
    lists.page(made, ItemKind.TOOLS, NEW)
    seen = weakref.ref(made)
    del made
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize(
    ("kind", "member"),
    [
        (ItemKind.TOOLS, "tools"),
        (ItemKind.RESOURCES, "resources"),
        (ItemKind.TEMPLATES, "resourceTemplates"),
        (ItemKind.PROMPTS, "prompts"),
    ],
)
def test_each_list_has_its_member(kind: ItemKind, member: str) -> None:
    definition = {IDENTITY_FIELD[kind]: "x", "name": "n", "inputSchema": SCHEMA}
    assert page(offer(kind, definition), kind=kind) == {member: [definition]}
    assert page(offer(kind), kind=kind) == {member: []}


def test_modern_pages_say_that_they_are_complete_private_and_whose() -> None:
    read = page(tools("a"), MODERN)
    assert (read["resultType"], read["ttlMs"], read["cacheScope"]) == ("complete", 0, "private")
    assert read["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "agenthub"


@pytest.mark.parametrize("version", sorted(ALL_VERSIONS))
def test_members_of_later_revisions_are_left_out(version: str) -> None:
    since = {
        "title": ("2025-06-18", "T"),
        "icons": (NEW, [{"src": "https://a/b"}]),
        "annotations": ("2025-03-26", {"readOnlyHint": True}),
        "outputSchema": ("2025-06-18", SCHEMA),
        "_meta": ("2025-06-18", {"a": 1}),
        "x-own": ("2024-11-05", 1),
    }
    read = page(tools("a", **{name: value for name, (_, value) in since.items()}), version)
    known = {name for name, (first, _) in since.items() if version >= first}
    assert read["tools"][0].keys() == known | {"name", "inputSchema"}


def test_task_support_is_told_only_in_the_revision_that_has_it() -> None:
    made = tools("a", execution={"taskSupport": "optional"})
    told = {version for version in ALL_VERSIONS if "execution" in page(made, version)["tools"][0]}
    assert told == {NEW}


@pytest.mark.parametrize("schema", [{"type": "array"}, {}, {"type": ["object", "null"]}, True])
def test_an_output_that_is_no_object_is_told_to_modern_agents_only(schema: Any) -> None:
    made = tools("a", outputSchema=schema)
    for version in LEGACY_VERSIONS:
        assert "outputSchema" not in page(made, version)["tools"][0]
    assert ("outputSchema" in page(made, MODERN)["tools"][0]) is (schema is not True)


@pytest.mark.parametrize("schema", [None, True, {}, {"type": "array"}])
@pytest.mark.parametrize("version", [NEW, MODERN])
def test_a_tool_without_object_input_is_left_out(schema: Any, version: str) -> None:
    made = offer(
        ItemKind.TOOLS,
        {"name": "bad", "inputSchema": schema},
        {"name": "good", "inputSchema": SCHEMA},
    )
    assert names(page(made, version)) == ["good"]


def test_modern_agents_are_spared_tools_whose_headers_are_unsound() -> None:
    unsound = {"type": "object", "properties": {"a": {"type": "number", "x-mcp-header": "A"}}}
    made = offer(ItemKind.TOOLS, {"name": "a", "inputSchema": unsound})
    assert names(page(made, MODERN)) == []
    assert names(page(made, NEW)) == ["a"]


def test_large_numbers_in_schemas_survive() -> None:
    schema = {"type": "object", "properties": {"n": {"maximum": 10**30, "minimum": 1.0}}}
    lists = ListRenderer()
    read = lists.page(
        offer(ItemKind.TOOLS, {"name": "a", "inputSchema": schema}), ItemKind.TOOLS, NEW
    )
    assert b'"maximum":1000000000000000000000000000000,"minimum":1.0' in read


def test_following_the_cursors_gives_every_item_once() -> None:
    lists, made = ListRenderer(page_items=3), tools(*"abcdefgh")
    seen: list[str] = []
    cursor = None
    for _ in range(3):
        read = page(made, cursor=cursor, lists=lists)
        seen += names(read)
        cursor = read.get("nextCursor")
    assert "".join(seen) == "abcdefgh"
    assert cursor is None


def test_a_page_ends_before_it_is_too_large() -> None:
    lists, made = ListRenderer(page_bytes=1000), tools("a", "b", "c", description="d" * 400)
    read = page(made, lists=lists)
    assert names(read) == ["a", "b"]
    assert names(page(made, cursor=read["nextCursor"], lists=lists)) == ["c"]


def test_an_item_larger_than_a_page_is_still_given() -> None:
    lists, made = ListRenderer(page_bytes=10), tools("a", "b")
    assert names(page(made, lists=lists)) == ["a"]


def test_a_page_of_items_that_are_left_out_leads_on() -> None:
    bad = [{"name": f"bad{n}", "inputSchema": None} for n in range(3)]
    made = offer(ItemKind.TOOLS, *bad, {"name": "good", "inputSchema": SCHEMA})
    lists = ListRenderer(page_items=2)
    read = page(made, lists=lists)
    assert names(read) == []
    assert names(page(made, cursor=read["nextCursor"], lists=lists)) == ["good"]


def test_a_cursor_finds_its_place_in_a_changed_list() -> None:
    lists = ListRenderer(page_items=2)
    cursor = page(tools(*"bcde"), lists=lists)["nextCursor"]
    assert names(page(tools(*"abcde"), cursor=cursor, lists=lists)) == ["d", "e"]


def test_a_cursor_whose_place_is_gone_is_refused() -> None:
    lists = ListRenderer(page_items=2)
    cursor = page(tools(*"abcd"), lists=lists)["nextCursor"]
    with pytest.raises(RpcError) as caught:
        page(tools(*"acd"), cursor=cursor, lists=lists)
    assert caught.value.code == -32602


@pytest.mark.parametrize("cursor", ["", "x", "%%%", 7, {}, [], True, "Mg", "é", "A" * 1000])
def test_a_made_up_cursor_is_refused(cursor: Any) -> None:
    with pytest.raises(RpcError) as caught:
        page(tools("a", "b"), cursor=cursor)
    assert caught.value.code == -32602


def test_a_cursor_of_one_list_does_not_fit_another() -> None:
    lists = ListRenderer(page_items=1)
    cursor = page(tools("a", "b"), lists=lists)["nextCursor"]
    with pytest.raises(RpcError):
        page(tools("a", "b"), cursor=cursor, kind=ItemKind.PROMPTS, lists=lists)


def test_kept_pages_are_bounded() -> None:
    lists = ListRenderer(page_items=1)
    made = tools(*(f"t{n}" for n in range(KEPT_PAGES + 2)))
    first = lists.page(made, ItemKind.TOOLS, NEW)
    read = json.loads(first)
    while "nextCursor" in read:
        read = page(made, cursor=read["nextCursor"], lists=lists)
    assert lists.page(made, ItemKind.TOOLS, NEW) is not first
