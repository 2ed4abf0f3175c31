"""What a server offers: its items as it defined them, and the bounds on what the hub keeps."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ItemKind(StrEnum):
    """The four lists of MCP. Values are the words of the event feed and of `counts`."""

    TOOLS = "tools"
    RESOURCES = "resources"
    TEMPLATES = "resource_templates"
    PROMPTS = "prompts"


IDENTITY_FIELD = {
    ItemKind.TOOLS: "name",
    ItemKind.RESOURCES: "uri",
    ItemKind.TEMPLATES: "uriTemplate",
    ItemKind.PROMPTS: "name",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One tool, resource, template or prompt. `key` is its name, URI or template string.

    `definition` is the server's own JSON, hub-private `_meta` removed. It is never changed.
    """

    kind: ItemKind
    key: str
    definition: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything one server offers in one era, in the server's order.

    `flags` says in words what was refused or cut (too many, too large, too deep, a network
    `$ref`, no name), for a person to read.
    """

    items: dict[ItemKind, tuple[Item, ...]] = field(
        default_factory=dict[ItemKind, tuple[Item, ...]]
    )
    flags: tuple[str, ...] = ()

    def of(self, kind: ItemKind) -> tuple[Item, ...]:
        return self.items.get(kind, ())

    def counts(self) -> dict[str, int]:
        return {kind.value: len(self.of(kind)) for kind in ItemKind}


EMPTY = Catalog()


@dataclass(frozen=True, slots=True)
class CatalogBounds:
    """How much of one server's list is kept. Beyond it items are dropped and flagged."""

    max_items: int = 5_000
    max_list_bytes: int = 8 * 1024 * 1024
    max_item_bytes: int = 256 * 1024
    max_schema_depth: int = 64
    max_pages: int = 200
