"""A notifier that delivers into a list, or fails as the test says."""

import asyncio

from agenthub.domain.entities.notices.target import NoticeTarget, TargetKind
from agenthub.domain.exceptions import InvalidError
from agenthub.domain.ports.outbound.notifier import Notice, Notifier
from tests.fakes.storage import refuse_inside_transaction


class FakeNotifier(Notifier):
    """`faults` holds what to raise, by name of the target, one at a time; None delivers.

    `always` is raised whenever `faults` has nothing for a target. Clear `held` to keep those
    named in `holding` waiting.
    """

    def __init__(self, kind: TargetKind) -> None:
        self.kind = kind
        self.taken: list[tuple[str, Notice]] = []
        self.attempts: list[tuple[str, str]] = []
        self.faults: dict[str, list[Exception | None]] = {}
        self.always: dict[str, Exception] = {}
        self.holding: set[str] = set()
        self.held = asyncio.Event()

    def check(self, target: NoticeTarget) -> None:
        if "bad" in target.address:
            raise InvalidError.at("address", message="is bad", code="invalid_target")

    async def send(self, target: NoticeTarget, notice: Notice) -> None:
        refuse_inside_transaction()
        self.attempts.append((target.name, notice.id))
        if target.name in self.holding:
            await self.held.wait()
        coming = self.faults.get(target.name)
        fault = coming.pop(0) if coming else self.always.get(target.name)
        if fault is not None:
            raise fault
        self.taken.append((target.name, notice))

    def titles(self, name: str) -> list[str]:
        """Give what one target was told, in order."""
        return [notice.title for target, notice in self.taken if target == name]
