"""Targets of notifications in memory."""

import copy
from dataclasses import replace

from agenthub.domain.entities.notices.target import NoticeTarget
from agenthub.domain.exceptions import ConflictError, InvalidError, NotFoundError
from agenthub.domain.ids import NoticeTargetId, WorkspaceId
from agenthub.domain.ports.outbound.storage.notices import NoticeTargetRepository

NoticeRows = dict[NoticeTargetId, NoticeTarget]


class FakeNoticeTargetRepository(NoticeTargetRepository):
    def __init__(self, rows: NoticeRows, workspace: WorkspaceId) -> None:
        self._rows = rows
        self._workspace = workspace

    async def add(self, target: NoticeTarget) -> None:
        self._keep(target)

    async def save(self, target: NoticeTarget) -> None:
        if target.id not in self._rows:
            raise NotFoundError("no such target", code="target_not_found")
        self._keep(target)

    async def advance(self, target_id: NoticeTargetId, cursor: int, fault: str | None) -> None:
        if target_id in self._rows:
            former = self._rows[target_id]
            self._rows[target_id] = replace(former, cursor=cursor, last_fault=fault)

    async def remove(self, target_id: NoticeTargetId) -> None:
        if self._rows.pop(target_id, None) is None:
            raise NotFoundError("no such target", code="target_not_found")

    async def all(self) -> list[NoticeTarget]:
        return copy.deepcopy(sorted(self._rows.values(), key=lambda target: target.name))

    def _keep(self, target: NoticeTarget) -> None:
        if any("\ud800" <= char <= "\udfff" or char == "\x00" for char in target.name):
            raise InvalidError("unstorable text", code="invalid_text")
        others = (one for one in self._rows.values() if one.id != target.id)
        if any(other.name == target.name for other in others):
            raise ConflictError("taken", code="name_taken")
        self._rows[target.id] = replace(target, workspace=self._workspace)
