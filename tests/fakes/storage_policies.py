"""Policy layers in memory."""

from collections.abc import Container
from copy import deepcopy
from typing import Any

from agenthub.domain.exceptions import ConflictError, InvalidError
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.storage.policies import PolicyRepository, StoredLayer

PolicyRows = dict[tuple[str, str], StoredLayer]


class FakePolicyRepository(PolicyRepository):
    """`endpoints` are the ids of those that there are."""

    def __init__(self, rows: PolicyRows, endpoints: Container[EndpointId]) -> None:
        self._rows = rows
        self._endpoints = endpoints

    async def put(self, layer: StoredLayer) -> None:
        _check([layer.tool, layer.body])
        if layer.endpoint_id is not None and layer.endpoint_id not in self._endpoints:
            raise ConflictError("gone", code="server_gone")
        self._rows[layer.endpoint_id or "", layer.tool or ""] = deepcopy(layer)

    async def remove(self, endpoint_id: EndpointId | None, tool: str | None) -> None:
        self._rows.pop((endpoint_id or "", tool or ""), None)

    async def all(self) -> list[StoredLayer]:
        return deepcopy([self._rows[key] for key in sorted(self._rows)])


def drop_policies(rows: PolicyRows, endpoint_id: EndpointId) -> None:
    """Forget the layers of a server that is removed."""
    for key in [key for key in rows if key[0] == endpoint_id]:
        del rows[key]


def _check(value: Any) -> None:
    match value:
        case str():
            if "\x00" in value or any("\ud800" <= char <= "\udfff" for char in value):
                raise InvalidError("unstorable text", code="invalid_text")
        case dict():
            _check([*value, *value.values()])
        case list():
            for one in value:
                _check(one)
        case _:
            return
