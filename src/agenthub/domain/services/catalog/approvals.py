"""What was accepted of every tool, and which tools are held back because they changed."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from agenthub.domain.entities.catalog.digest import covered, digest_of
from agenthub.domain.entities.catalog.listing import Catalog, Item, ItemKind
from agenthub.domain.entities.endpoints import Endpoint, Era
from agenthub.domain.entities.resilience.policy import DefinitionChange, GatewayPolicy
from agenthub.domain.event import DefinitionChanged
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.storage.definitions import StoredDefinition

FIRST_USE = "first-use"
POLICY = "policy"
"""Who accepted a definition where no person did."""
MAX_TOOLS = 20_000
"""Definitions kept of one server; what comes beyond is held, since it could not be compared."""

_logger = logging.getLogger(__name__)

PolicyOf = Callable[[EndpointId, str], GatewayPolicy]
Key = tuple[EndpointId, Era, str]


@dataclass(slots=True)
class News:
    """What is to be written down: the newest of each definition, and of each tool's events."""

    definitions: dict[Key, StoredDefinition]
    events: dict[tuple[EndpointId, str], DefinitionChanged]

    def __bool__(self) -> bool:
        return bool(self.definitions or self.events)


class Approvals:
    """A register in memory. What one call finds is decided before it returns.

    A tool unknown so far is accepted at first use. One definition is as good in both eras: a
    tool is unchanged if it is what was accepted of it in either.
    """

    def __init__(self, policy_of: PolicyOf) -> None:
        self._policy_of = policy_of
        self._rows: dict[EndpointId, dict[tuple[str, Era], StoredDefinition]] = {}
        self.news = News({}, {})

    def load(self, definitions: Iterable[StoredDefinition]) -> None:
        """Take over what is stored."""
        for row in definitions:
            self._rows.setdefault(row.endpoint_id, {})[row.tool, row.era] = row

    def forget(self, endpoint_id: EndpointId) -> None:
        """The endpoint is no more."""
        self._rows.pop(endpoint_id, None)

    def of(self, endpoint_id: EndpointId, tool: str | None = None) -> list[StoredDefinition]:
        """List an endpoint's definitions, or one tool's, by tool and era."""
        rows = self._rows.get(endpoint_id, {})
        return [rows[key] for key in sorted(rows) if tool in (None, key[0])]

    def judge(
        self, endpoint: Endpoint, eras: tuple[Era, ...], catalog: Catalog, now: datetime
    ) -> frozenset[str]:
        """Compare a catalogue, shown in `eras`, with what was accepted; name the held tools."""
        tools = catalog.of(ItemKind.TOOLS)
        return frozenset(t.key for t in tools if self._is_held(endpoint, eras, t, now))

    def settle(self, accepted: StoredDefinition) -> None:
        """Take an accepted definition over; a newer pending one stays pending."""
        rows = self._rows.get(accepted.endpoint_id, {})
        present = rows.get((accepted.tool, accepted.era))
        if present is None:
            return  # the endpoint was removed meanwhile
        if present.pending_digest in (None, accepted.digest):
            rows[accepted.tool, accepted.era] = accepted
            return
        pending = {
            "pending_digest": present.pending_digest,
            "pending": present.pending,
            "pending_since": present.pending_since,
            "held": present.held,
        }
        self._keep(replace(accepted, **pending))

    def _is_held(
        self, endpoint: Endpoint, eras: tuple[Era, ...], item: Item, now: datetime
    ) -> bool:
        rows = self._rows.setdefault(endpoint.id, {})
        known = {era: row for era in Era if (row := rows.get((item.key, era))) is not None}
        own = next((known[era] for era in eras if era in known), None)
        digest = digest_of(item.definition)
        if not known:
            return not self._accept_first(endpoint, eras[0], item, digest, now)
        if any(row.digest == digest for row in known.values()):
            if own is not None and own.pending_digest is not None:
                self._revert(endpoint, own, now)
            return False
        row = own or replace(next(iter(known.values())), era=eras[0], **_NOTHING_PENDING)
        return self._change(endpoint, row, item, digest, now)

    def _accept_first(
        self, endpoint: Endpoint, era: Era, item: Item, digest: str, now: datetime
    ) -> bool:
        if len(self._rows[endpoint.id]) >= MAX_TOOLS:
            return False
        row = StoredDefinition(
            endpoint_id=endpoint.id,
            era=era,
            tool=item.key,
            digest=digest,
            definition=covered(item.definition),
            accepted_at=now,
            accepted_by=FIRST_USE,
        )
        self._keep(row)
        return True

    def _change(
        self, endpoint: Endpoint, row: StoredDefinition, item: Item, digest: str, now: datetime
    ) -> bool:
        definition = covered(item.definition)
        policy = self._policy_of(endpoint.id, item.key).definitions
        if policy is DefinitionChange.ACCEPT:
            self._keep(_accepted(row, digest, definition, POLICY, now))
            return False
        held = policy is DefinitionChange.QUARANTINE
        if (row.pending_digest, row.held) != (digest, held):
            since = row.pending_since if row.pending_digest == digest else now
            pending = replace(
                row, pending_digest=digest, pending=definition, pending_since=since, held=held
            )
            self._keep(pending)
            self._tell(endpoint, pending, now)
            text = "a changed tool is held back" if held else "a tool changed"
            _logger.info(text, extra=facts_of(endpoint, pending))
        return held

    def _revert(self, endpoint: Endpoint, row: StoredDefinition, now: datetime) -> None:
        """The server went back to what was accepted: nothing is pending any more."""
        back = replace(row, **_NOTHING_PENDING)
        self._keep(back)
        self._tell(endpoint, back, now, decided="reverted")

    def _keep(self, row: StoredDefinition) -> None:
        self._rows.setdefault(row.endpoint_id, {})[row.tool, row.era] = row
        self.news.definitions[row.endpoint_id, row.era, row.tool] = row

    def _tell(
        self, endpoint: Endpoint, row: StoredDefinition, now: datetime, decided: str | None = None
    ) -> None:
        self.news.events[endpoint.id, row.tool] = changed(endpoint, row, now, decided)


_NOTHING_PENDING: dict[str, Any] = {
    "pending_digest": None,
    "pending": None,
    "pending_since": None,
    "held": False,
}


def accept(row: StoredDefinition, by: str, now: datetime) -> StoredDefinition:
    """Say what becomes of `row` once its pending definition is accepted."""
    if row.pending is None or row.pending_digest is None:
        return row
    return _accepted(row, row.pending_digest, row.pending, by, now)


def changed(
    endpoint: Endpoint, row: StoredDefinition, now: datetime, decided: str | None
) -> DefinitionChanged:
    """Make the event of a definition's change or of what was decided on it."""
    return DefinitionChanged(
        workspace=endpoint.workspace,
        at=now,
        endpoint_id=endpoint.id,
        server=endpoint.name,
        tool=row.tool,
        held=row.held,
        decided=decided,
    )


def facts_of(endpoint: Endpoint, row: StoredDefinition) -> dict[str, str]:
    """Give what a log line says of a definition."""
    return {"server": endpoint.name, "server_id": endpoint.id, "tool": row.tool}


def _accepted(
    row: StoredDefinition, digest: str, definition: dict[str, Any], by: str, now: datetime
) -> StoredDefinition:
    fresh = replace(row, digest=digest, definition=definition, accepted_at=now, accepted_by=by)
    return replace(fresh, **_NOTHING_PENDING)
