from typing import Any

import pytest

from agenthub.domain.entities.catalog.exposure import (
    chosen_uri,
    expose,
    expose_meta,
    template_admits,
)
from agenthub.domain.entities.catalog.listing import IDENTITY_FIELD, Item, ItemKind
from agenthub.domain.ids import EndpointId

ID = EndpointId("e1")


def item(kind: ItemKind, key: str, **more: Any) -> Item:
    return Item(kind, key, {IDENTITY_FIELD[kind]: key, **more})


@pytest.mark.parametrize(
    ("kind", "key", "exposed"),
    [
        (ItemKind.TOOLS, "add", "calc__add"),
        (ItemKind.PROMPTS, "ask", "calc__ask"),
        (ItemKind.RESOURCES, "demo://a", "calc+demo://a"),
        (ItemKind.TEMPLATES, "demo://{id}", "calc+demo://{id}"),
    ],
)
def test_every_kind_is_renamed_in_its_own_field(kind: ItemKind, key: str, exposed: str) -> None:
    shown = expose(item(kind, key, title="T"), ID, "calc", namespaced=True)
    assert shown.key == exposed
    assert shown.definition == {IDENTITY_FIELD[kind]: exposed, "title": "T"}
    assert (shown.target.endpoint_id, shown.target.server, shown.target.key) == (ID, "calc", key)


def test_at_its_own_endpoint_an_item_is_untouched() -> None:
    tool = item(ItemKind.TOOLS, "add")
    assert expose(tool, ID, "calc", namespaced=False).definition is tool.definition


def test_references_to_an_app_follow_its_renamed_resource() -> None:
    meta = {"ui": {"resourceUri": "ui://x/y", "visibility": ["app"]}, "ui/resourceUri": "ui://x/y"}
    assert expose_meta("calc", {**meta, "other": 1}) == {
        "ui": {"resourceUri": "ui://calc/x/y", "visibility": ["app"]},
        "ui/resourceUri": "ui://calc/x/y",
        "other": 1,
    }


@pytest.mark.parametrize("odd", [None, 3, [], {"ui": 3}, {"ui": {"resourceUri": 3}}])
def test_an_odd_meta_is_left_as_it_is(odd: Any) -> None:
    assert expose_meta("calc", odd) == odd


def test_exposing_does_not_change_the_original() -> None:
    original = item(ItemKind.TOOLS, "add", _meta={"ui": {"resourceUri": "ui://x"}})
    expose(original, ID, "calc", namespaced=True)
    assert original.definition["_meta"] == {"ui": {"resourceUri": "ui://x"}}


@pytest.mark.parametrize(
    ("template", "uri", "admits"),
    [
        ("demo://{id}", "demo://7", True),
        ("demo://{id}", "demo://", False),
        ("demo://{id}", "other://7", False),
        ("demo://{a}/x/{b}", "demo://1/x/2", True),
        ("demo://{a}/x/{b}", "demo://1/y/2", False),
        ("demo://{a}.txt", "demo://notes.txt", True),
        ("demo://{a}.txt", "demo://.txt", False),
        ("demo://{a}", "demo://x/y", False),
        ("demo://{a}", "demo://x?y", False),
        ("demo://{+a}", "demo://x/y", True),
        ("demo://{+a}", "demo://x/../y", False),
        ("file:///public/{name}", "file:///public/../etc/shadow", False),
        ("file:///public/{name}", "file:///public/..", False),
        ("file:///public/{name}", "file:///public/%2e%2E", False),
        ("file:///public/{+name}", "file:///public/x%2f..%2fy", False),
        ("db://users/{id}/name", "db://users/1/password?x=/name", False),
        ("db://users/{id}/name", "db://users/1/name", True),
        ("demo://x{?q,r}", "demo://x", True),
        ("demo://x{?q,r}", "demo://x?q=1&r=2", True),
        ("demo://x{?q,r}", "demo://xq=1", False),
        ("demo://x{/a*}", "demo://x/1/2", True),
        ("demo://x{/a*}", "demo://x1", False),
        ("demo://{a}{b}", "demo://12", True),
        ("demo://fixed", "demo://fixed", True),
        ("demo://fixed", "demo://fixed/more", False),
    ],
)
def test_a_template_admits_its_expansions(template: str, uri: str, admits: bool) -> None:
    assert template_admits(template, uri) is admits


def test_a_choice_holds_single_uris_and_templates() -> None:
    chosen = {"demo://one", "notes://{name}"}
    assert chosen_uri(chosen, "demo://one")
    assert chosen_uri(chosen, "notes://{name}")
    assert chosen_uri(chosen, "notes://x")
    assert not chosen_uri(chosen, "demo://two")
