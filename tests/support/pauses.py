"""Pauses that end when the test turns the clock."""

import asyncio

from tests.fakes.clock import FakeClock
from tests.support.waiting import eventually


class Pauses:
    """Give `pause` to what waits; `pass_by` turns the clock and lets go who has waited enough."""

    def __init__(self, clock: FakeClock) -> None:
        self.taken: list[float] = []
        self._clock = clock
        self._open: list[tuple[float, asyncio.Event]] = []

    async def pause(self, seconds: float, wake: asyncio.Event) -> None:
        self.taken.append(seconds)
        entry = (self._clock.monotonic() + seconds, asyncio.Event())
        self._open.append(entry)
        try:
            async with asyncio.TaskGroup() as group:
                waits = [group.create_task(entry[1].wait()), group.create_task(wake.wait())]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for one in waits:
                    one.cancel()
        finally:
            self._open.remove(entry)

    @property
    def waiting(self) -> int:
        return len(self._open)

    async def pass_by(self, seconds: float, *, waiting: int = 1) -> None:
        """Turn the clock once so many wait, and return when all whose time it is have gone on."""
        await eventually(lambda: len(self._open) >= waiting)
        self._clock.advance(seconds)
        due = [entry for entry in self._open if entry[0] <= self._clock.monotonic() + 1e-9]
        for _, event in due:
            event.set()
        await eventually(lambda: not any(entry in self._open for entry in due))
