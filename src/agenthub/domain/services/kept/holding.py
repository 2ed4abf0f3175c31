"""How long an agent is kept waiting before its call goes on without it."""

import asyncio

from agenthub.domain.ports.outbound.mcp_client import Caller


async def held_until(done: asyncio.Event, hold_s: float, caller: Caller) -> bool:
    """Wait for `done`. False when the hold is over before, or the caller has hung up."""
    is_waiting = True
    try:
        async with asyncio.timeout(hold_s) as hold:

            def end() -> None:
                if is_waiting and not hold.expired():
                    hold.reschedule(0.0)

            caller.on_gone(end)
            await done.wait()
    except TimeoutError:
        return False
    finally:
        is_waiting = False
    return True
