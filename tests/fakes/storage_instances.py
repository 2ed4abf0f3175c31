"""Instances of servers in memory."""

import copy
from dataclasses import replace
from typing import Protocol

from agenthub.domain.entities.endpoints import Endpoint, Transport
from agenthub.domain.entities.instances import Instance
from agenthub.domain.exceptions import ConflictError, InvalidError, NotFoundError
from agenthub.domain.ids import EndpointId, InstanceId, WorkspaceId
from agenthub.domain.ports.outbound.storage.instances import InstanceRepository

InstanceRows = dict[InstanceId, tuple[Instance, Transport | None]]


class _Rows(Protocol):
    endpoints: dict[EndpointId, Endpoint]
    instances: InstanceRows


class FakeInstanceRepository(InstanceRepository):
    def __init__(self, rows: _Rows, workspace: WorkspaceId) -> None:
        self._rows = rows
        self._workspace = workspace

    async def put(self, instance: Instance, transport: Transport | None) -> None:
        if "\x00" in instance.id:
            raise InvalidError("unstorable text", code="invalid_text")
        if instance.endpoint_id not in self._rows.endpoints:
            raise ConflictError("gone", code="server_gone")
        kept = replace(instance, workspace=self._workspace)
        self._rows.instances[instance.id] = (kept, copy.deepcopy(transport))

    async def remove(self, instance_id: InstanceId) -> None:
        if self._rows.instances.pop(instance_id, None) is None:
            raise NotFoundError("no such instance", code="instance_not_found")

    async def of(self, endpoint_id: EndpointId) -> list[tuple[Instance, Transport | None]]:
        return [kept for kept in await self.all() if kept[0].endpoint_id == endpoint_id]

    async def all(self) -> list[tuple[Instance, Transport | None]]:
        rows = copy.deepcopy(self._rows.instances)
        return [rows[key] for key in sorted(rows)]
