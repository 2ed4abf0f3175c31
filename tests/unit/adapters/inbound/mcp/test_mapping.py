"""Results, questions and notifications, fitted to the agent without touching their values."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.adapters.inbound.mcp.mapping import (
    complete_result,
    input_required_result,
    map_notification,
    map_question,
    map_result,
    with_link_id,
)
from agenthub.adapters.inbound.mcp.versions import ALL_VERSIONS, LEGACY_VERSIONS
from agenthub.domain.entities.catalog.uris import expose_uri, split_uri
from agenthub.domain.exceptions import UpstreamError
from agenthub.domain.ports.outbound.mcp_client import Question
from agenthub.domain.services.calls import Deed

NEW = "2025-11-25"
MODERN = "2026-07-28"
INFO = "io.modelcontextprotocol/serverInfo"
TEXT = {"type": "text", "text": "hello"}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
URIS = st.from_regex(r"[a-z][a-z0-9+.-]{0,8}:[^\s\"\\]{0,20}", fullmatch=True) | TEXTS


def mapped(
    deed: Deed, result: Any, *, version: str = NEW, namespaced: bool = True
) -> dict[str, Any]:
    raw = result if isinstance(result, bytes) else json.dumps(result).encode()
    mapped = map_result(deed, raw, server="time", namespaced=namespaced, version=version)
    parsed: dict[str, Any] = json.loads(mapped)
    return parsed


def tool(*content: Any, version: str = NEW, namespaced: bool = True, **others: Any) -> Any:
    result = {"content": list(content), **others}
    return mapped(Deed.CALL_TOOL, result, version=version, namespaced=namespaced)


def question(method: str, **params: Any) -> Question:
    return Question("time", method, json.dumps(params).encode())


def asked(method: str, version: str = MODERN, *, namespaced: bool = True, **params: Any) -> Any:
    one = map_question(question(method, **params), namespaced=namespaced, version=version)
    assert (one.server, one.method) == ("time", method)
    return json.loads(one.params)


@pytest.mark.parametrize(
    ("deed", "result"),
    [
        (Deed.CALL_TOOL, b'{ "content": [ {"text" : "a\\/b", "type":"text"} ], "x": 1.0 }'),
        (
            Deed.CALL_TOOL,
            b'{"content":[],"structuredContent":{"n":1e2,"big":12345678901234567890}}',
        ),
        (Deed.GET_PROMPT, b'{"messages":[{"role":"user","content":{"type":"text","text":"a"}}]}'),
        (Deed.COMPLETE, b'{"completion":{"values":["a"],"total":1.0}}'),
    ],
)
def test_a_result_without_references_reaches_legacy_agents_byte_by_byte(
    deed: Deed, result: bytes
) -> None:
    assert map_result(deed, result, server="time", namespaced=True, version=NEW) is result


def test_an_untouched_endpoint_changes_no_uri() -> None:
    result = b'{"contents":[{"uri":"a://b","text":"x"}]}'
    read = map_result(Deed.READ_RESOURCE, result, server="t", namespaced=False, version=NEW)
    assert read is result


@pytest.mark.parametrize(
    ("deed", "result"),
    [
        (Deed.CALL_TOOL, {"content": [TEXT]}),
        (Deed.CALL_TOOL, {"content": [TEXT], "_meta": {"own": 1}}),
        (Deed.GET_PROMPT, {"messages": []}),
        (Deed.READ_RESOURCE, {"contents": []}),
        (Deed.COMPLETE, {"completion": {"values": []}}),
    ],
)
def test_modern_agents_learn_that_it_is_complete_and_who_answered(deed: Deed, result: Any) -> None:
    read = mapped(deed, result, version=MODERN)
    assert read["resultType"] == "complete"
    assert read["_meta"][INFO]["name"] == "agenthub"
    assert result.keys() <= read.keys()


def test_a_results_own_meta_stays_beside_the_hubs() -> None:
    meta = tool(TEXT, _meta={"own": 1, "io.modelcontextprotocol/x": 2}, version=MODERN)["_meta"]
    assert meta.keys() == {"own", INFO}
    assert "_meta" not in tool(TEXT, _meta={"io.modelcontextprotocol/x": 2})


@given(st.dictionaries(TEXTS, st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_survive_a_result_that_is_put_together_again(numbers: dict[str, Any]) -> None:
    written = json.dumps(numbers, indent=2)
    raw = (
        '{"content":[{"type":"resource_link","name":"n","uri":"a://b","size":1.0}],'
        f'"structuredContent":{written}}}'
    )
    read = map_result(
        Deed.CALL_TOOL, raw.encode(), server="time", namespaced=True, version=MODERN
    ).decode()
    assert f'"structuredContent":{written}' in read
    assert '"size":1.0' in read


@pytest.mark.parametrize(("may_keep", "ttl_ms"), [(True, 60_000), (False, 0)])
def test_a_modern_agent_keeps_what_it_may(may_keep: bool, ttl_ms: int) -> None:
    result = b'{"contents":[],"ttlMs":60000,"cacheScope":"public"}'
    read = map_result(
        Deed.READ_RESOURCE,
        result,
        server="t",
        namespaced=True,
        version=MODERN,
        may_keep=may_keep,
    )
    kept = json.loads(read)
    assert (kept["ttlMs"], kept["cacheScope"]) == (ttl_ms, "private")


@given(URIS)
def test_a_uri_in_any_place_comes_back_to_the_server(uri: str) -> None:
    link = {"type": "resource_link", "name": "n", "uri": uri}
    held = {"type": "resource", "resource": {"uri": uri, "text": "t"}}
    for block in tool(link, held)["content"]:
        shown = block["uri"] if "uri" in block else block["resource"]["uri"]
        assert split_uri(shown) in (("time", uri), ("time", f"ui://{uri[5:]}"))
    contents = mapped(Deed.READ_RESOURCE, {"contents": [held["resource"]]})["contents"]
    message = {"role": "user", "content": held}
    messages = mapped(Deed.GET_PROMPT, {"messages": [message]})["messages"]
    assert contents[0]["uri"] == expose_uri("time", uri)
    assert messages[0]["content"]["resource"]["uri"] == expose_uri("time", uri)


def test_references_to_uis_follow_their_resource() -> None:
    meta = {"ui": {"resourceUri": "ui://a/b", "n": 1.0}, "ui/resourceUri": "ui://c", "ui2": 7}
    read = tool({**TEXT, "_meta": meta}, _meta=meta)
    expected = {
        "ui": {"resourceUri": "ui://time/a/b", "n": 1.0},
        "ui/resourceUri": "ui://time/c",
        "ui2": 7,
    }
    assert read["_meta"] == expected
    assert read["content"][0]["_meta"] == expected


def test_member_names_are_known_in_any_spelling() -> None:
    raw = b'{"content":[{"\\u0074ype":"resource_link","name":"n","u\\u0072i":"a:\\/\\/b"}]}'
    assert mapped(Deed.CALL_TOOL, raw)["content"][0]["uri"] == "time+a://b"


def test_meta_of_a_hop_is_taken_out_of_content() -> None:
    meta = {"io.modelcontextprotocol/serverInfo": {}, "own": 1}
    read = tool({**TEXT, "_meta": meta}, {**TEXT, "_meta": {"io.modelcontextprotocol/x": 1}})
    assert read["content"] == [{**TEXT, "_meta": {"own": 1}}, TEXT]


@pytest.mark.parametrize(
    ("deed", "result"),
    [
        (Deed.CALL_TOOL, {}),
        (Deed.CALL_TOOL, {"content": None}),
        (Deed.CALL_TOOL, {"content": {}}),
        (Deed.CALL_TOOL, {"content": ["text"]}),
        (Deed.CALL_TOOL, {"content": [{"text": "no type"}]}),
        (Deed.CALL_TOOL, {"content": [{"type": "text"}]}),
        (Deed.CALL_TOOL, {"content": [{"type": "text", "text": 7}]}),
        (Deed.CALL_TOOL, {"content": [{"type": "image", "data": "x"}]}),
        (Deed.CALL_TOOL, {"content": [{"type": "resource_link", "name": "n"}]}),
        (Deed.CALL_TOOL, {"content": [{"type": "resource"}]}),
        (Deed.CALL_TOOL, {"content": [{"type": "resource", "resource": {"text": "t"}}]}),
        (Deed.CALL_TOOL, {"content": [{"type": "resource", "resource": {"uri": "a://b"}}]}),
        (Deed.CALL_TOOL, {"content": [], "isError": "yes"}),
        (Deed.CALL_TOOL, {"content": [], "_meta": 7}),
        (Deed.GET_PROMPT, {}),
        (Deed.GET_PROMPT, {"messages": {}}),
        (Deed.GET_PROMPT, {"messages": [{"role": "user"}]}),
        (Deed.GET_PROMPT, {"messages": [{"role": "user", "content": "text"}]}),
        (Deed.GET_PROMPT, {"messages": [{"role": "user", "content": {"type": "text"}}]}),
        (Deed.READ_RESOURCE, {}),
        (Deed.READ_RESOURCE, {"contents": {}}),
        (Deed.READ_RESOURCE, {"contents": [{"uri": "a://b"}]}),
        (Deed.READ_RESOURCE, {"contents": [{"text": "x"}]}),
        (Deed.COMPLETE, {"completion": {}}),
        (Deed.COMPLETE, {"completion": {"values": [1]}}),
    ],
)
@pytest.mark.parametrize("version", [NEW, MODERN])
def test_a_malformed_result_is_the_servers_fault(deed: Deed, result: Any, version: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        mapped(deed, result, version=version)
    assert caught.value.code == "server_bad_result"
    assert "time" in caught.value.message


def test_unknown_members_and_blocks_pass() -> None:
    block = {"type": "hologram", "depth": 3, "x": {"y": 1.5}}
    read = tool(block, {**TEXT, "new": 1}, future=[1])
    assert read == {"content": [block, {**TEXT, "new": 1}], "future": [1]}


@pytest.mark.parametrize("version", sorted(ALL_VERSIONS))
def test_audio_is_a_resource_where_audio_is_not_known(version: str) -> None:
    audio = {"type": "audio", "data": "AAAA", "mimeType": "audio/wav", "annotations": {}}
    block = tool(audio, version=version)["content"][0]
    if version >= "2025-03-26":
        assert block == audio
    else:
        resource = {"uri": "agenthub://audio", "mimeType": "audio/wav", "blob": "AAAA"}
        assert block == {"type": "resource", "annotations": {}, "resource": resource}


@pytest.mark.parametrize("version", sorted(ALL_VERSIONS))
@pytest.mark.parametrize("namespaced", [True, False])
def test_a_link_is_a_text_where_links_are_not_known(version: str, namespaced: bool) -> None:
    link = {"type": "resource_link", "name": "n", "uri": "a://b", "description": "d"}
    uri = "time+a://b" if namespaced else "a://b"
    block = tool(link, version=version, namespaced=namespaced)["content"][0]
    if version >= "2025-06-18":
        assert block == {**link, "uri": uri}
    else:
        assert block == {"type": "text", "text": f"Resource n: {uri}\nd"}


@pytest.mark.parametrize("version", LEGACY_VERSIONS)
def test_structured_content_that_is_no_object_becomes_text_for_legacy_agents(version: str) -> None:
    raw = b'{"content":[],"structuredContent":[1.0,2]}'
    read = mapped(Deed.CALL_TOOL, raw, version=version)
    assert read == {"content": [{"type": "text", "text": "[1.0,2]"}]}
    assert tool(TEXT, structuredContent=[1], version=version) == {"content": [TEXT]}
    assert tool(structuredContent=None, version=version) == {"content": []}


def test_modern_agents_get_structured_content_of_any_type() -> None:
    assert tool(structuredContent=[1], version=MODERN)["structuredContent"] == [1]


def test_structured_content_is_kept_from_the_revision_on_that_knows_it() -> None:
    assert tool(TEXT, structuredContent={"a": 1}, version="2025-06-18")["structuredContent"]
    assert "structuredContent" not in tool(TEXT, structuredContent={"a": 1}, version="2025-03-26")


@pytest.mark.parametrize(
    ("hints", "ttl"),
    [
        ({}, 0),
        ({"ttlMs": 5000, "cacheScope": "public"}, 5000),
        ({"ttlMs": -1}, 0),
        ({"ttlMs": "long"}, 0),
    ],
)
def test_a_read_is_kept_as_long_as_the_server_says_and_for_one_principal(
    hints: dict[str, Any], ttl: int
) -> None:
    result = {"contents": [{"uri": "a://b", "blob": "AA"}], **hints}
    read = mapped(Deed.READ_RESOURCE, result, version=MODERN)
    assert (read["ttlMs"], read["cacheScope"]) == (ttl, "private")
    assert read["contents"] == [{"uri": "time+a://b", "blob": "AA"}]
    legacy = mapped(Deed.READ_RESOURCE, result)
    assert legacy.keys() == {"contents"}


def test_a_result_of_the_hubs_own_is_finished_for_modern_agents_only() -> None:
    own = {"x": b"1", "_meta": b'{"y":2}'}
    assert json.loads(complete_result(own, NEW)) == {"x": 1, "_meta": {"y": 2}}
    modern = json.loads(complete_result(own, MODERN))
    assert modern["resultType"] == "complete"
    assert modern["_meta"].keys() == {"y", INFO}


def test_questions_are_put_in_one_result() -> None:
    elicit = question("elicitation/create", message="Name?")
    read = json.loads(input_required_result({"a": elicit}, "state"))
    assert read["resultType"] == "input_required"
    assert read["requestState"] == "state"
    assert read["inputRequests"] == {
        "a": {"method": "elicitation/create", "params": {"message": "Name?"}}
    }
    assert INFO in read["_meta"]


def test_a_state_may_stand_alone() -> None:
    read = json.loads(input_required_result({}, "state"))
    assert "inputRequests" not in read


def test_a_user_is_told_which_server_asks_where_the_endpoint_hides_it() -> None:
    assert asked("elicitation/create", message="Name?")["message"] == "[time] Name?"
    untouched = asked("elicitation/create", message="Name?", namespaced=False)
    assert untouched["message"] == "Name?"


def test_a_question_loses_what_concerns_the_servers_hop() -> None:
    meta = {"progressToken": 1, "io.modelcontextprotocol/related-task": {}, "own": 1}
    assert asked("elicitation/create", _meta=meta)["_meta"] == {"own": 1}


def test_uris_in_sampling_messages_are_exposed() -> None:
    held = {"type": "resource", "resource": {"uri": "a://b", "text": "t"}}
    result = {"type": "tool_result", "toolUseId": "1", "content": [held]}
    messages = [{"role": "user", "content": [TEXT, result]}, {"role": "user", "content": held}]
    read = asked("sampling/createMessage", messages=messages, maxTokens=1)["messages"]
    assert read[0]["content"][1]["content"][0]["resource"]["uri"] == "time+a://b"
    assert read[1]["content"]["resource"]["uri"] == "time+a://b"


def test_a_message_of_several_blocks_is_split_for_older_agents() -> None:
    messages = [{"role": "user", "content": [TEXT, {**TEXT, "text": "b"}]}]
    read = asked("sampling/createMessage", "2025-06-18", messages=messages)["messages"]
    assert [one["content"]["text"] for one in read] == ["hello", "b"]


@pytest.mark.parametrize(
    "params", [b"7", b'{"messages":7}', b'{"messages":[{"role":"user"}]}', b'{"_meta":[]}']
)
def test_a_malformed_question_is_the_servers_fault(params: bytes) -> None:
    with pytest.raises(UpstreamError):
        map_question(
            Question("time", "sampling/createMessage", params), namespaced=True, version=MODERN
        )


@pytest.mark.parametrize(
    ("logger", "expected"), [(b'"db"', b'"time/db"'), (None, b'"time"'), (b"7", b'"time"')]
)
def test_a_log_says_which_server_it_comes_from(logger: bytes | None, expected: bytes) -> None:
    params = {"level": b'"info"', "data": b"1.0"} | ({} if logger is None else {"logger": logger})
    read = map_notification(
        "notifications/message", params, server="time", namespaced=True, version=NEW
    )
    assert read == {"level": b'"info"', "data": b"1.0", "logger": expected}


def test_progress_has_no_words_for_the_oldest_agents() -> None:
    params = {"progress": b"1.0", "message": b'"half"'}
    for version, kept in (("2024-11-05", {"progress": b"1.0"}), ("2025-03-26", params)):
        read = map_notification(
            "notifications/progress", params, server="t", namespaced=True, version=version
        )
        assert read == kept


@pytest.mark.parametrize(
    ("meta", "expected"),
    [(b'{"own":1,"io.modelcontextprotocol/x":2}', {"_meta": b'{"own":1}'}), (b"7", {})],
)
def test_notifications_lose_what_concerns_the_servers_hop(
    meta: bytes, expected: dict[str, bytes]
) -> None:
    read = map_notification(
        "notifications/progress", {"_meta": meta}, server="t", namespaced=False, version=NEW
    )
    assert read == expected


@pytest.mark.parametrize(
    ("asked", "link_id"),
    [
        ({"mode": "url", "url": "https://x.test"}, "hub-1"),
        ({"mode": "url", "url": "https://x.test", "elicitationId": "own"}, "own"),
        ({"mode": "form"}, None),
        ({}, None),
    ],
)
def test_a_link_has_an_id_for_agents_that_want_one(asked: dict[str, Any], link_id: Any) -> None:
    sent = json.loads(with_link_id(json.dumps(asked).encode(), "hub-1"))

    assert sent.get("elicitationId") == link_id
    assert {name: value for name, value in sent.items() if name != "elicitationId"} == {
        name: value for name, value in asked.items() if name != "elicitationId"
    }
