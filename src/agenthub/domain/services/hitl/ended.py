"""What has just ended: who comes late is told so without a transaction of their own."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from weakref import WeakValueDictionary

from agenthub.domain.entities.hitl.request import HitlRequest
from agenthub.domain.entities.identity import Principal
from agenthub.domain.ids import RequestId

KEPT = 1_000


class Ended:
    """The latest questions that ended in this process; nothing moves them any more."""

    def __init__(self) -> None:
        self._ended: OrderedDict[RequestId, HitlRequest] = OrderedDict()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn(self, request_id: str) -> asyncio.Lock:
        """Have those who decide the same question come one after the other."""
        lock = self._turns.get(request_id)
        if lock is None:
            lock = self._turns[request_id] = asyncio.Lock()
        return lock

    def get(self, principal: Principal, request_id: str) -> HitlRequest | None:
        """Give a question of the principal's workspace, if it is known to have ended."""
        request = self._ended.get(RequestId(request_id))
        return None if request is None or request.workspace != principal.workspace else request

    def note(self, requests: Iterable[HitlRequest]) -> None:
        for request in requests:
            if not request.is_open:
                # What was said may be large, and matters no more.
                self._ended[request.id] = replace(request, shown={}, decision=None, result=None)
        while len(self._ended) > KEPT:
            self._ended.popitem(last=False)
