"""Policies over REST: looked at, changed, dropped; what is wrong is named and changes nothing."""

from typing import Any

import jsonschema
import pytest

from agenthub.adapters.inbound.http.policy_schema import Policy, PolicyLayer
from agenthub.domain.entities.resilience.layers import as_document
from agenthub.domain.entities.resilience.policy import GatewayPolicy
from agenthub.domain.ids import EndpointId
from tests.integration.http.world import Served, bearer, body_of

HUB = "/api/gateway/policy"
SERVER = "/api/gateway/servers/demo/policy"
TOOL = "/api/gateway/servers/demo/tools/add_numbers/policy"
PLACES = [HUB, SERVER, TOOL]
BUILT_IN = as_document(GatewayPolicy())


@pytest.mark.parametrize("place", PLACES)
async def test_a_policy_is_built_in_until_it_is_changed(hub: Served, place: str) -> None:
    await hub.register()
    answer = await hub.http.get(place)
    assert answer.json() == {"effective": BUILT_IN, "stored": {}, "file": {}, "warnings": []}


@pytest.mark.parametrize("place", PLACES)
async def test_a_change_holds_at_once_and_is_dropped_again(hub: Served, place: str) -> None:
    server = await hub.register()
    patch = {"breaker": {"open_s": 2}, "price_usd": "0.002", "rate_limit": {"rate_per_s": 5}}
    changed = await hub.http.patch(place, json=patch)
    assert changed.status_code == 200, changed.text
    assert changed.json()["stored"] == {
        "breaker": {"open_s": 2},
        "price_nano_usd": 2_000_000,
        "rate_limit": {"rate_per_s": 5},
    }
    shown = (await hub.http.get(TOOL)).json()["effective"]
    assert shown["price_usd"] == "0.002"
    assert shown["rate_limit"] == {"rate_per_s": 5, "burst": 5}
    policies = hub.world.hub.policies
    assert policies.of(EndpointId(server["id"]), "add_numbers").breaker.open_s == 2
    assert (await hub.http.delete(place)).status_code == 204
    assert (await hub.http.get(TOOL)).json()["effective"] == BUILT_IN


async def test_a_patch_merges_and_a_put_replaces(hub: Served) -> None:
    await hub.http.patch(HUB, json={"timeout_s": 5, "breaker": {"open_s": 2, "calm_s": 3}})
    merged = await hub.http.patch(HUB, json={"timeout_s": None, "breaker": {"open_s": 1}})
    assert merged.json()["stored"] == {"breaker": {"open_s": 1, "calm_s": 3}}
    replaced = await hub.http.put(HUB, json={"calls_per_day": None, "trusted": True})
    assert replaced.json()["stored"] == {"calls_per_day": None, "trusted": True}


async def test_a_limit_of_the_hub_is_taken_away_for_a_tool(hub: Served) -> None:
    await hub.register()
    await hub.http.patch(HUB, json={"calls_per_day": 5})
    await hub.http.patch(TOOL, json={"calls_per_day": "none"})
    assert (await hub.http.get(SERVER)).json()["effective"]["calls_per_day"] == 5
    tool = (await hub.http.get(TOOL)).json()
    assert (tool["effective"]["calls_per_day"], tool["stored"]) == (None, {"calls_per_day": None})


async def test_a_tools_name_may_hold_anything(hub: Served) -> None:
    await hub.register()
    for tool in ("a%2Fb", "a/c", "policy", "policy/policy", "%ED%95%9C%20%3F"):
        place = f"/api/gateway/servers/demo/tools/{tool}/policy"
        assert (await hub.http.patch(place, json={"timeout_s": 7})).status_code == 200
        assert (await hub.http.get(place)).json()["effective"]["timeout_s"] == 7
        assert (await hub.http.get(TOOL)).json()["effective"]["timeout_s"] == 300
        assert (await hub.http.delete(place)).status_code == 204
        assert (await hub.http.get(place)).json()["stored"] == {}


WRONG: list[tuple[str, str, list[str]]] = [
    (HUB, '{"timeout_s": -1}', ["timeout_s"]),
    (HUB, '{"timeout_s": 0}', ["timeout_s"]),
    (HUB, '{"timeout_s": 1e300}', ["timeout_s"]),
    (HUB, '{"timeout_s": "5"}', ["timeout_s"]),
    (HUB, '{"timeout_s": true}', ["timeout_s"]),
    (HUB, '{"calls_per_day": 1.5}', ["calls_per_day"]),
    (HUB, '{"calls_per_day": ' + "9" * 4000 + "}", ["calls_per_day"]),
    (HUB, '{"breaker": {"failure_share": 1.1}}', ["breaker", "failure_share"]),
    (HUB, '{"breaker": {"open_s": 301}}', ["breaker", "open_s"]),
    (HUB, '{"breaker": []}', ["breaker"]),
    (HUB, '{"breakers": {}}', ["breakers"]),
    (HUB, '{"retry": {"max_retries": 6}}', ["retry", "max_retries"]),
    (HUB, '{"rate_limit": {"burst": 1}}', ["rate_limit", "rate_per_s"]),
    (HUB, '{"balancing": "random"}', ["balancing"]),
    (HUB, '{"definitions": "forbid"}', ["definitions"]),
    (HUB, '{"fallback": {"tool": "a"}}', ["fallback"]),
    (HUB, '{"price_usd": 0.1}', ["price_usd"]),
    (SERVER, '{"price_nano_usd": 1000000000000001}', ["price_nano_usd"]),
    (SERVER, '{"fallback": {"server": "a"}}', ["fallback", "tool"]),
    (TOOL, '{"health": {}}', ["health"]),
    (HUB, "[]", ["body"]),
    (HUB, "5", ["body"]),
]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_bad_input_is_a_422_that_names_the_field_and_nothing_changes(
    hub: Served, method: str
) -> None:
    await hub.register()
    headers = {"content-type": "application/json"}
    for place, body, loc in WRONG:
        answer = await hub.http.request(method, place, content=body, headers=headers)
        assert answer.status_code == 422, (place, body, answer.text)
        assert [fault["loc"] for fault in body_of(answer)["errors"]] == [loc], body
    for place in PLACES:
        shown = (await hub.http.get(place)).json()
        assert shown == {"effective": BUILT_IN, "stored": {}, "file": {}, "warnings": []}


async def test_what_is_no_strict_json_is_a_400(hub: Served) -> None:
    headers = {"content-type": "application/json"}
    for body in ('{"timeout_s": NaN}', '{"timeout_s": 1, "timeout_s": 2}', "{"):
        assert (await hub.http.patch(HUB, content=body, headers=headers)).status_code == 400


async def test_a_layer_that_others_do_not_fit_is_refused(hub: Served) -> None:
    await hub.register()
    await hub.http.patch(SERVER, json={"breaker": {"max_open_s": 10}})
    answer = await hub.http.patch(HUB, json={"breaker": {"open_s": 20}})
    assert answer.status_code == 422
    [fault] = body_of(answer)["errors"]
    assert fault["loc"] == ["breaker", "open_s"]
    assert "demo" in fault["message"]


async def test_an_unknown_server_is_a_404(hub: Served) -> None:
    for place in (SERVER, TOOL):
        for method, body in (("GET", None), ("PATCH", {}), ("PUT", {}), ("DELETE", None)):
            answer = await hub.http.request(method, place, json=body)
            assert (answer.status_code, body_of(answer)["code"]) == (404, "server_not_found")


async def test_who_may_look_may_not_change(hub: Served) -> None:
    await hub.register()
    reader = bearer((await hub.key("hub:read"))["secret"])
    for place in PLACES:
        assert (await hub.http.get(place, headers=reader)).status_code == 200
        for method in ("PATCH", "PUT", "DELETE"):
            body: Any = None if method == "DELETE" else {}
            answer = await hub.http.request(method, place, json=body, headers=reader)
            assert answer.status_code == 403


def test_what_openapi_says_of_a_policy_fits_what_is_shown() -> None:
    schema = Policy.model_json_schema()
    jsonschema.validate(BUILT_IN, schema)
    layer = PolicyLayer.model_json_schema()
    assert layer["properties"].keys() == schema["properties"].keys() == BUILT_IN.keys()
    jsonschema.validate(BUILT_IN, layer)
    for bad in ({"timeout_s": 0}, {"x": 1}, {"breaker": {"open_s": "1"}}, {"trusted": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, layer)


async def test_a_fallback_to_what_is_not_there_is_kept_with_a_warning(hub: Served) -> None:
    await hub.register()
    for fallback, warned in (
        ({"server": "ghost", "tool": "add"}, "server 'ghost', which does not exist"),
        ({"tool": "never"}, "tool 'never', which the server 'demo' does not offer now"),
        ({"tool": "add_numbers"}, None),
    ):
        changed = await hub.http.patch(TOOL, json={"fallback": None})
        changed = await hub.http.patch(TOOL, json={"fallback": fallback})
        assert changed.status_code == 200, changed.text
        shown = (await hub.http.get(TOOL)).json()["warnings"]
        assert shown == changed.json()["warnings"]
        assert [warned in text for text in shown] == ([] if warned is None else [True])
