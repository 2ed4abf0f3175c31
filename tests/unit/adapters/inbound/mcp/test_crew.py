"""Members of the crew end quietly, whenever they are told to."""

import asyncio

from agenthub.adapters.inbound.mcp.crew import Crew


async def test_member_that_is_cancelled_before_its_first_step_leaves_nothing_behind() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    async with Crew() as crew:
        never_begun = work()
        member = crew.start(never_begun)
        assert member is not None
        member.cancel()
        await asyncio.wait([member])
        assert never_begun.cr_frame is None, "it would warn that it was never awaited"


async def test_dismissed_crew_takes_no_work() -> None:
    crew = Crew()
    async with crew:
        pass
    late = asyncio.sleep(0)
    assert crew.start(late) is None
    assert late.cr_frame is None
