"""Who waits for which questions: futures by id, without a task or a query of their own."""

import asyncio
from collections.abc import Iterable, Sequence

from agenthub.domain.entities.hitl.request import HitlRequest
from agenthub.domain.exceptions import NotFoundError
from agenthub.domain.ids import RequestId


class Waiter:
    """One call that waits until every one of its questions is settled."""

    def __init__(self, ids: Sequence[RequestId]) -> None:
        self.ids = tuple(ids)
        self._settled: dict[RequestId, HitlRequest] = {}
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._look()

    def take(self, request: HitlRequest) -> None:
        """Hear of a question that is settled."""
        self._settled[request.id] = request
        self._look()

    def fail(self, error: NotFoundError) -> None:
        """Wait no more: one of the questions is gone."""
        if not self._done.done():
            self._done.set_exception(error)

    async def all(self) -> list[HitlRequest]:
        """Give the questions in the order in which they were asked for, once all are settled."""
        await self._done
        return [self._settled[one] for one in self.ids]

    def _look(self) -> None:
        if not self._done.done() and all(one in self._settled for one in self.ids):
            self._done.set_result(None)


class Waiters:
    """All that wait in this process. A waiter must leave, however its wait ends."""

    def __init__(self) -> None:
        self._by_id: dict[RequestId, list[Waiter]] = {}

    @property
    def ids(self) -> set[RequestId]:
        """Which questions somebody waits for."""
        return set(self._by_id)

    def __contains__(self, request_id: RequestId) -> bool:
        return request_id in self._by_id

    def join(self, ids: Sequence[RequestId]) -> Waiter:
        waiter = Waiter(ids)
        for one in set(ids):
            self._by_id.setdefault(one, []).append(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        for one in set(waiter.ids):
            left = [other for other in self._by_id.get(one, ()) if other is not waiter]
            if left:
                self._by_id[one] = left
            else:
                self._by_id.pop(one, None)

    def tell(self, requests: Iterable[HitlRequest]) -> None:
        """Hand on questions as they are stored; those that are not settled are passed over."""
        for request in requests:
            if request.is_settled:
                for waiter in self._by_id.pop(request.id, ()):
                    waiter.take(request)

    def lose(self, ids: Iterable[RequestId], error: NotFoundError) -> None:
        """Wake those who wait for questions that are stored no more."""
        for one in ids:
            for waiter in self._by_id.pop(one, ()):
                waiter.fail(error)
