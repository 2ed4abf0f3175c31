"""Keys, scopes and groups: what each token sees and may do."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.http.world import SERVERS, TOKEN, Served, bearer, body_of


async def test_a_secret_is_shown_once_and_opens_what_its_scopes_say(hub: Served) -> None:
    key = await hub.key("hub:read")
    assert key["secret"].startswith("ahk_")
    assert key["secret"].startswith(key["prefix"])
    shown = await hub.http.get(f"/api/keys/{key['id']}")
    assert key["secret"] not in shown.text
    assert shown.json() == {k: v for k, v in key.items() if k != "secret"}
    head = bearer(key["secret"])
    assert (await hub.http.get(SERVERS, headers=head)).status_code == 200
    refused = await hub.http.get("/api/keys", headers=head)
    assert (refused.status_code, body_of(refused)["code"]) == (403, "insufficient_scope")


async def test_one_changed_letter_opens_nothing(hub: Served) -> None:
    secret = (await hub.key("hub:read"))["secret"]
    changed = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    assert (await hub.http.get(SERVERS, headers=bearer(changed))).status_code == 401


async def test_a_revoked_key_opens_nothing_at_once(hub: Served) -> None:
    key = await hub.key("hub:read")
    head = bearer(key["secret"])
    assert (await hub.http.get(SERVERS, headers=head)).status_code == 200
    assert (await hub.http.delete(f"/api/keys/{key['id']}")).status_code == 204
    assert (await hub.http.get(SERVERS, headers=head)).status_code == 401
    again = await hub.http.delete(f"/api/keys/{key['id']}")
    assert (again.status_code, body_of(again)["code"]) == (404, "key_not_found")


async def test_keys_are_listed_oldest_first_in_pages(hub: Served) -> None:
    made = [(await hub.key("chat"))["id"] for _ in range(3)]
    first = (await hub.http.get("/api/keys?limit=2")).json()
    rest = (await hub.http.get(f"/api/keys?limit=2&cursor={first['next_cursor']}")).json()
    assert [key["id"] for key in first["items"] + rest["items"]] == made
    assert rest["next_cursor"] is None


SOON = (datetime.now(UTC) + timedelta(days=1)).isoformat()  # noqa: TID251


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "", "scopes": ["chat"]}, "name"),
        ({"name": "x" * 65, "scopes": ["chat"]}, "name"),
        ({"name": "a\nb", "scopes": ["chat"]}, "name"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["root"]}, "scopes"),
        ({"name": "a", "scopes": ["chat"], "group": "nowhere"}, "group"),
        ({"name": "a", "scopes": ["chat"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "a", "scopes": ["chat"], "expires_at": "2999-01-01T00:00:00"}, "expires_at"),
        ({"name": "a", "scopes": ["chat"], "expires_at": 99999999999}, "expires_at"),
        (
            {"name": "a", "scopes": ["chat"], "expires_at": "9999-12-31T23:59:59-23:59"},
            "expires_at",
        ),
    ],
)
async def test_a_wrong_key_names_the_field(
    hub: Served, body: dict[str, object], field: str
) -> None:
    answer = await hub.http.post("/api/keys", json=body)
    assert answer.status_code == 422, answer.text
    assert field in {error["loc"][0] for error in body_of(answer)["errors"]}


async def test_an_expiry_is_told_in_utc(hub: Served) -> None:
    key = await hub.key("chat", expires_at="2999-01-01T02:00:00+02:00")
    assert key["expires_at"] == "2999-01-01T00:00:00Z"


async def test_a_bound_key_sees_its_group_and_nothing_else(hub: Served) -> None:
    inside, outside = await hub.register("inside"), await hub.register("outside")
    await hub.http.post("/api/groups", json={"slug": "team", "members": [{"server": "inside"}]})
    await hub.http.post("/api/groups", json={"slug": "others", "members": []})
    key = await hub.key("admin", group="team")
    assert key["group"] == "team"
    head = bearer(key["secret"])

    async def status(path: str) -> int:
        return (await hub.http.get(path, headers=head)).status_code

    names = [s["name"] for s in (await hub.http.get(SERVERS, headers=head)).json()["items"]]
    tools = [t["name"] for t in (await hub.http.get("/api/tools", headers=head)).json()["items"]]
    groups = [g["slug"] for g in (await hub.http.get("/api/groups", headers=head)).json()["items"]]
    assert (names, tools, groups) == (["inside"], ["inside__add_numbers"], ["team"])
    assert await status(f"{SERVERS}/{inside['id']}/tools") == 200
    for path in (f"{SERVERS}/outside", f"{SERVERS}/{outside['id']}/tools", "/api/groups/others"):
        assert await status(path) == 404
    call = await hub.http.post(f"{SERVERS}/outside/tools/add_numbers", json={}, headers=head)
    assert call.status_code == 404
    made = await hub.http.post("/api/keys", json={"name": "x", "scopes": ["chat"]}, headers=head)
    assert (made.status_code, body_of(made)["code"]) == (403, "group_bound")
    change = await hub.http.delete("/api/groups/team", headers=head)
    assert (change.status_code, body_of(change)["code"]) == (403, "group_bound")


async def test_a_group_that_is_removed_takes_its_keys_along(hub: Served) -> None:
    await hub.http.post("/api/groups", json={"slug": "team"})
    head = bearer((await hub.key("hub:read", group="team"))["secret"])
    assert (await hub.http.get(SERVERS, headers=head)).status_code == 200
    assert (await hub.http.delete("/api/groups/team")).status_code == 204
    assert (await hub.http.get(SERVERS, headers=head)).status_code == 401


async def test_groups_are_made_changed_and_read(hub: Served) -> None:
    server = await hub.register("demo")
    member = {"server": server["id"], "tools": ["add_numbers"], "resources": [], "prompts": None}
    body = {"slug": "team", "name": "The team", "description": "For all", "members": [member]}
    made = await hub.http.post("/api/groups", json=body)
    assert made.status_code == 201
    group = made.json()
    assert group["endpoint"] == "/groups/team/mcp"
    assert group["members"] == [{**member, "server": "demo", "server_id": server["id"]}]
    changed = await hub.http.patch("/api/groups/team", json={"slug": "crew", "name": None})
    assert (changed.json()["slug"], changed.json()["name"]) == ("crew", "The team")
    assert changed.json()["members"] == group["members"]
    assert (await hub.http.get("/api/groups/team")).status_code == 404
    assert (await hub.http.get(f"/api/groups/{group['id']}")).json() == changed.json()
    emptied = await hub.http.patch("/api/groups/crew", json={"members": []})
    assert emptied.json()["members"] == []


async def test_a_wrong_group_names_the_field(hub: Served) -> None:
    await hub.register("demo")
    members = [{"server": "demo"}, {"server": "nobody"}]
    answer = await hub.http.post("/api/groups", json={"slug": "team", "members": members})
    assert answer.status_code == 422
    assert body_of(answer)["errors"][0]["loc"] == ["members", 1, "server"]
    answer = await hub.http.post("/api/groups", json={"slug": "Bad Slug"})
    assert body_of(answer)["code"] == "invalid_slug"
    await hub.http.post("/api/groups", json={"slug": "team"})
    answer = await hub.http.post("/api/groups", json={"slug": "team"})
    assert (answer.status_code, body_of(answer)["code"]) == (409, "slug_taken")


async def test_a_token_in_the_query_opens_nothing(hub: Served) -> None:
    answer = await hub.http.get(f"{SERVERS}?token={TOKEN}", headers={"authorization": ""})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
