"""Messages to agents are put together from JSON text, and remember only what is short."""

import json

from agenthub.adapters.inbound.mcp import frames


def test_members_and_methods_of_any_length_are_encoded() -> None:
    name = "ä" * 300
    framed = frames.notification(name, {name: b"1", "b": b"2"})
    assert json.loads(framed) == {"jsonrpc": "2.0", "method": name, "params": {name: 1, "b": 2}}


def test_names_that_strangers_chose_do_not_fill_the_memory() -> None:
    frames.members({"x" * 65: b"1"})
    before = frames.remembered_names()

    for number in range(50):
        frames.members({f"{number:065}": b"1"})
        frames.request(b"1", f"{number:065}", b"{}")

    assert frames.remembered_names() == before
