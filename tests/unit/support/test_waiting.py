import asyncio

import pytest

from tests.support.waiting import NeverHappenedError, eventually, soon

BRIEFLY_S = 0.02


async def test_soon_gives_what_came() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    queue.put_nowait(7)
    assert await soon(queue.get()) == 7


async def test_soon_fails_when_nothing_comes() -> None:
    with pytest.raises(NeverHappenedError):
        await soon(asyncio.Event().wait(), within_s=BRIEFLY_S)


async def test_eventually_looks_until_the_answer_is_true() -> None:
    answers = iter([0, None, "", "here"])
    assert await eventually(lambda: next(answers)) == "here"


async def test_eventually_awaits_and_takes_a_failed_assertion_for_not_yet() -> None:
    looks: list[int] = []

    async def look() -> int:
        looks.append(1)
        assert len(looks) > 2, "too early"
        return len(looks)

    assert await eventually(look) == 3


async def test_eventually_says_what_it_saw_last() -> None:
    with pytest.raises(NeverHappenedError, match=r"the door.*last saw 0"):
        await eventually(lambda: 0, within_s=BRIEFLY_S, what="the door")


async def test_eventually_lets_other_errors_through_at_once() -> None:
    def look() -> bool:
        raise KeyError("broken")

    with pytest.raises(KeyError):
        await eventually(look)
