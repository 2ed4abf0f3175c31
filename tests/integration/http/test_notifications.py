"""Notifications over REST, told to a real receiver."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from agenthub.domain.entities.endpoints import ConnectionStatus, EndpointState
from agenthub.domain.services.notices import follower
from tests.fakes.mcp_client import READY
from tests.integration.http.world import Served, body_of, served
from tests.support.ports import free_port
from tests.support.receiver import Posted, Receiver, receiving
from tests.support.waiting import eventually

TARGETS = "/api/notifications"
DOWN = EndpointState(status=ConnectionStatus.UNREACHABLE, last_error="refused")
Json = dict[str, Any]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "FIRST_PAUSE_S", 0.001)


async def add(hub: Served, address: str, name: str = "hook", **more: Any) -> Json:
    body = {"name": name, "kind": "webhook", "address": address, **more}
    answer = await hub.http.post(TARGETS, json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{TARGETS}/{answer.json()['id']}"
    return answer.json()


async def falls(hub: Served, name: str = "demo") -> None:
    """Let a server become unreachable, and ready again."""
    server = await hub.register(name)
    hub.world.client.become(server["id"], DOWN)
    hub.world.client.become(server["id"], READY)


async def posts(receiver: Receiver, count: int) -> list[Posted]:
    await eventually(lambda: len(receiver.got) >= count)
    assert len(receiver.got) == count
    return receiver.got


def verified(posted: Posted, secret: str) -> Json:
    """Check a notice as a receiver would, by the specification, and give its JSON."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = ".".join((posted.headers["webhook-id"], posted.headers["webhook-timestamp"], ""))
    digest = hmac.new(key, signed.encode() + posted.body, hashlib.sha256).digest()
    assert posted.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    return json.loads(posted.body)


async def test_a_webhook_is_told_signed_when_a_server_falls_and_comes_back(hub: Served) -> None:
    async with receiving() as receiver:
        made = await add(hub, receiver.url)
        await falls(hub)
        first, second = await posts(receiver, 2)
        told = verified(first, made["secret"])
        assert told["type"] == "server.status"
        assert told["data"]["title"] == "Server demo: unreachable"
        assert told["data"]["status"] == "unreachable"
        assert verified(second, made["secret"])["data"]["title"] == "Server demo: reachable again"
        assert first.headers["webhook-id"] != second.headers["webhook-id"]


async def test_no_secret_is_ever_shown_again(hub: Served) -> None:
    made = await add(hub, "https://example.com/hooks/s3cr3t")
    assert made["secret"].startswith("whsec_")
    for path in (TARGETS, f"{TARGETS}/{made['id']}", f"{TARGETS}/hook"):
        text = (await hub.http.get(path)).text
        assert "https://example.com/***" in text
        assert "s3cr3t" not in text
        assert made["secret"] not in text
    changed = await hub.http.patch(f"{TARGETS}/hook", json={"enabled": False})
    assert "secret" not in changed.json()


async def test_a_notice_is_sent_again_after_a_500_and_over_a_restart(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.always = (500, {})
        async with served(tmp_path) as hub:
            made = await add(hub, receiver.url)
            await falls(hub)
            await eventually(lambda: len(receiver.got) >= 2)

            async def has_fault() -> bool:
                shown = (await hub.http.get(f"{TARGETS}/hook")).json()
                return "500" in (shown["last_fault"] or "")

            await eventually(has_fault)
        before = {posted.headers["webhook-id"] for posted in receiver.got}
        assert len(before) == 1
        receiver.got.clear()
        receiver.always = (200, {})
        async with served(tmp_path):
            first, second = await posts(receiver, 2)
            assert first.headers["webhook-id"] in before
            titles = [verified(one, made["secret"])["data"]["title"] for one in (first, second)]
            assert titles == ["Server demo: unreachable", "Server demo: reachable again"]


async def test_a_410_disables_the_target(hub: Served) -> None:
    async with receiving() as receiver:
        receiver.always = (410, {})
        await add(hub, receiver.url)
        await falls(hub)

        async def is_off() -> bool:
            shown = (await hub.http.get(f"{TARGETS}/hook")).json()
            return not shown["enabled"] and "410" in shown["last_fault"]

        await eventually(is_off)
        assert len(receiver.got) == 1


async def test_a_dead_target_holds_up_no_other(hub: Served) -> None:
    async with receiving() as receiver:
        await add(hub, f"http://127.0.0.1:{free_port()}/", "dead")
        await add(hub, receiver.url)
        await falls(hub)
        await posts(receiver, 2)


async def test_a_test_says_at_once_whether_it_arrived(hub: Served) -> None:
    async with receiving() as receiver, receiving() as other:
        made = await add(hub, receiver.url)
        assert (await hub.http.post(f"{TARGETS}/hook/test")).status_code == 204
        assert verified(receiver.got[0], made["secret"])["type"] == "test"
        receiver.always = (307, {"location": other.url})
        refused = await hub.http.post(f"{TARGETS}/hook/test")
        assert refused.status_code == 502
        assert body_of(refused)["code"] == "notice_failed"
        assert "307" in body_of(refused)["detail"]
        assert "s3cr3t" not in refused.text
        assert other.connections == 0


async def test_an_apprise_target_is_told_in_words(hub: Served) -> None:
    async with receiving() as receiver:
        receiver.always = (200, {})
        address = f"gotify://127.0.0.1:{receiver.port}/AbCdEfGhIjKlMnO"
        made = await add(hub, address, kind="apprise")
        assert (made["secret"], made["address"]) == (None, "gotify://***")
        await falls(hub)
        await eventually(lambda: len(receiver.got) == 2, within_s=20)
        assert json.loads(receiver.got[0].body)["title"] == "Server demo: unreachable"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"kind": "carrier-pigeon"}, "kind"),
        ({"events": []}, "events"),
        ({"events": ["server.status", "no.such"]}, "events"),
        ({"address": "http://169.254.169.254/latest/meta-data/"}, "address"),
        ({"address": "http://[::ffff:169.254.169.254]/"}, "address"),
        ({"address": "file:///etc/passwd"}, "address"),
        ({"address": "http://u:p@example.com/"}, "address"),
        ({"address": "file:///etc/passwd", "kind": "apprise"}, "address"),
        ({"address": "syslog://", "kind": "apprise"}, "address"),
        ({"address": "json://127.0.0.1/", "kind": "apprise"}, "address"),
        ({"address": "mailto://u:p@h.org?pgpkey=/etc/passwd", "kind": "apprise"}, "address"),
        ({"secret": "guess"}, "secret"),
        ({"cursor": 5}, "cursor"),
    ],
)
async def test_a_wrong_target_names_the_field_and_is_not_kept(
    hub: Served, changes: Json, field: str
) -> None:
    body = {"name": "hook", "kind": "webhook", "address": "https://example.com/", **changes}
    answer = await hub.http.post(TARGETS, json=body)
    assert answer.status_code == 422
    fault = body_of(answer)["errors"][0]
    assert field in fault["loc"] or field in fault["message"]
    assert (await hub.http.get(TARGETS)).json()["items"] == []


async def test_an_internal_apprise_host_is_refused_when_it_is_told(hub: Served) -> None:
    await add(hub, "gotify://169.254.169.254/AbCdEfGhIjKlMnO", kind="apprise")
    refused = await hub.http.post(f"{TARGETS}/hook/test")
    assert refused.status_code == 502
    assert "does not call" in body_of(refused)["detail"]
    assert "AbCdEfGhIjKlMnO" not in refused.text


async def test_targets_are_changed_and_removed(hub: Served) -> None:
    await add(hub, "https://example.com/a")
    await add(hub, "https://example.com/b", "other")
    taken = await hub.http.patch(f"{TARGETS}/hook", json={"name": "other"})
    assert (taken.status_code, body_of(taken)["code"]) == (409, "name_taken")
    changed = await hub.http.patch(
        f"{TARGETS}/hook", json={"name": "new", "events": ["budget.alert"]}
    )
    assert changed.json()["events"] == ["budget.alert"]
    page = (await hub.http.get(TARGETS, params={"limit": 1})).json()
    assert [one["name"] for one in page["items"]] == ["new"]
    rest = await hub.http.get(TARGETS, params={"cursor": page["next_cursor"]})
    assert [one["name"] for one in rest.json()["items"]] == ["other"]
    assert (await hub.http.delete(f"{TARGETS}/new")).status_code == 204
    assert (await hub.http.get(f"{TARGETS}/new")).status_code == 404
    assert (await hub.http.delete(f"{TARGETS}/new")).status_code == 404


async def test_only_admins_change_targets(hub: Served) -> None:
    await add(hub, "https://example.com/a")
    key = await hub.key("hub:read", "hub:write")
    weak = {"authorization": f"Bearer {key['secret']}"}
    assert (await hub.http.get(f"{TARGETS}/hook", headers=weak)).status_code == 200
    body = {"name": "x", "kind": "webhook", "address": "https://example.com/"}
    for attempt in (
        hub.http.post(TARGETS, json=body, headers=weak),
        hub.http.patch(f"{TARGETS}/hook", json={}, headers=weak),
        hub.http.delete(f"{TARGETS}/hook", headers=weak),
        hub.http.post(f"{TARGETS}/hook/test", headers=weak),
    ):
        assert (await attempt).status_code == 403
