"""Lists as agents get them: pages of ready JSON, made once per snapshot and revision."""

from typing import Any

from agenthub.adapters.inbound.hub import Offer
from agenthub.domain.entities.catalog.listing import ItemKind

PAGE_ITEMS = 1_000
PAGE_BYTES = 4 * 1024 * 1024


class ListRenderer:
    """Renders the pages of `*/list`, and keeps them while their snapshot lives."""

    def page(self, offer: Offer, kind: ItemKind, version: str, cursor: Any = None) -> bytes:
        """Give the whole `result` object of one page, for agents of revision `version`.

        `cursor` is the value the agent sent, None for the first page. Raises RpcError -32602
        for a cursor that was not given out or no longer fits.
        """
        raise NotImplementedError
