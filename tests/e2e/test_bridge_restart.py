"""A hub that is killed while a person has a call: agents of each era come back for its outcome."""

from pathlib import Path

import pytest
from mcp_types import InputRequiredResult

from tests.e2e.test_bridge_people import (
    HOLD_S,
    OF_PERSON,
    Bridge,
    agent,
    collected,
    ticket_of,
    told,
)
from tests.support.fixture_process import fixture_command
from tests.support.hub_process import HubProcess

pytestmark = pytest.mark.e2e
ACT = "asking__act"
SPENT, MORE = {"amount": 1}, {"amount": 2}
"""Equal calls of one caller would be one call."""


@pytest.mark.parametrize("server", ["legacy", "modern"])
async def test_what_was_asked_before_a_crash_is_answered_done_once_and_fetched_after_it(
    tmp_path: Path, server: str
) -> None:
    with HubProcess(tmp_path / "data", env={"AGENTHUB_HITL__HOLD_S": str(HOLD_S)}) as hub:
        command = fixture_command("asking_server", "--era", server, "--transport", "stdio")
        hub.register_stdio("asking", *command)
        hub.rest("POST", "/api/policies", {"name": "costs", "action": "ask", "tool": "act"})
        bridge = Bridge(hub, {"asking": 0})
        async with agent(bridge, "legacy", able=False) as client:
            waiting = await client.call_tool(ACT, SPENT)
            assert ticket_of(waiting) is not None
        async with agent(bridge, "modern", able=False) as client:
            held = await client.session.call_tool(ACT, MORE, allow_input_required=True)
            assert isinstance(held, InputRequiredResult)

        hub.kill()
        hub.start()

        asked = await bridge.pending("approval", "asking", 2)
        for one in asked:
            await bridge.answer(one, "approval")
        async with agent(bridge, "legacy", able=False) as client:
            words = [told(await collected(client, waiting)) for _ in range(2)]
        async with agent(bridge, "modern", able=False) as client:
            result: object = held
            while isinstance(result, InputRequiredResult):
                state = result.request_state
                result = await client.session.call_tool(
                    ACT, MORE, request_state=state, allow_input_required=True
                )
            words.append(told(result))

    assert len(asked) == 2
    assert words[0] == words[1]
    assert all(one.startswith(OF_PERSON["approval"]) for one in words)
    assert {one[-len("deed 1") :] for one in words} == {"deed 1", "deed 2"}
