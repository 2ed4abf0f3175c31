"""Turns of clients at a server that does not say whose question it asks."""

import asyncio

import pytest

from agenthub.adapters.outbound.mcp_client.turns import Turns
from agenthub.domain.exceptions import HeldBackError


async def test_a_request_whose_turn_did_not_come_was_not_sent_and_may_come_back() -> None:
    turns = Turns()
    async with turns.turn("one", 5):
        with pytest.raises(HeldBackError) as caught:
            async with turns.turn("two", 0.01):
                raise AssertionError("both have their turn")
    assert (caught.value.code, caught.value.reached_server) == ("server_busy", False)
    assert caught.value.retry_after_s is not None
    async with asyncio.timeout(5), turns.turn("two", 5):
        pass
