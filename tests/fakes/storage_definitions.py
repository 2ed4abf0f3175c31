"""Accepted tool definitions in memory."""

import copy

from agenthub.domain.entities.endpoints import Endpoint, Era
from agenthub.domain.exceptions import InvalidError
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.storage.definitions import (
    DefinitionRepository,
    StoredDefinition,
)

DefinitionRows = dict[tuple[EndpointId, Era, str], StoredDefinition]


class FakeDefinitionRepository(DefinitionRepository):
    def __init__(self, rows: DefinitionRows, endpoints: dict[EndpointId, Endpoint]) -> None:
        self._rows = rows
        self._endpoints = endpoints

    async def put(self, definitions: list[StoredDefinition]) -> None:
        known = [one for one in definitions if one.endpoint_id in self._endpoints]
        for one in known:
            if any("\x00" in text or not _is_utf8(text) for text in (one.tool, one.accepted_by)):
                raise InvalidError("unstorable text", code="invalid_text")
        for one in known:
            self._rows[one.endpoint_id, one.era, one.tool] = copy.deepcopy(one)

    async def of(self, endpoint_id: EndpointId) -> list[StoredDefinition]:
        return [one for one in await self.all() if one.endpoint_id == endpoint_id]

    async def all(self) -> list[StoredDefinition]:
        for key in [key for key in self._rows if key[0] not in self._endpoints]:
            del self._rows[key]
        every = copy.deepcopy(list(self._rows.values()))
        return sorted(every, key=lambda one: (one.endpoint_id, one.tool, one.era))


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)
