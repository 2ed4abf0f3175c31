"""A process that commits for ever and says so: `python -m tests.contracts.writer URL FIRST`.

Each line is the number of a server whose transaction is committed. It is killed from outside.
"""

import asyncio
import sys

from agenthub.adapters.outbound.storage.engine import Database
from agenthub.adapters.outbound.storage.unit_of_work import SqlUnitOfWork
from agenthub.domain.entities.identity import OWNER
from tests.contracts.samples import endpoint, status_event
from tests.fakes.clock import FakeClock
from tests.fakes.event_bus import FakeEventBus
from tests.fakes.secrets import FakeSecretBox


async def main(url: str, number: int) -> None:
    async with Database(url=url) as database:
        uow = SqlUnitOfWork(
            bus=FakeEventBus(), clock=FakeClock(), database=database, secrets=FakeSecretBox()
        )
        while True:
            async with uow.begin(OWNER) as tx:
                await tx.endpoints.add(endpoint(f"s{number}"))
                tx.emit(status_event(f"s{number}"))
                await tx.commit()
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            number += 1


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
