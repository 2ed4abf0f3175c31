"""Every route of the hub is closed by default, and says which scope opens it."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from agenthub.domain.entities.identity import Scope
from tests.integration.http.world import Served, bearer, body_of

WITHOUT_TOKEN = {"/livez", "/readyz"}
MCP = [
    ("POST", "/mcp"),
    ("GET", "/mcp"),
    ("DELETE", "/mcp"),
    ("POST", "/groups/team/mcp"),
    ("POST", "/servers/demo/mcp"),
    ("GET", "/sse"),
    ("GET", "/groups/team/sse"),
    ("POST", "/sse/messages"),
]


async def described(hub: Served) -> list[tuple[str, str, dict[str, Any]]]:
    paths = (await hub.http.get("/openapi.json")).json()["paths"]
    return [
        (method.upper(), path, operation)
        for path, operations in paths.items()
        for method, operation in operations.items()
    ]


async def test_nothing_but_health_answers_without_a_token(hub: Served) -> None:
    routes = [(method, path) for method, path, _ in await described(hub)]
    assert len(routes) > 25
    nobody = {"authorization": ""}
    for method, path in [*routes, *MCP]:
        answer = await hub.http.request(method, path, headers=nobody)
        wanted = 200 if path in WITHOUT_TOKEN else 401
        assert answer.status_code == wanted, (method, path)
        if wanted == 401:
            assert "www-authenticate" in answer.headers, (method, path)
            assert body_of(answer)["code"] == "unauthenticated"


async def test_every_route_declares_a_scope_and_refuses_a_key_without_it(hub: Served) -> None:
    # A key with one scope stands for one without, where that scope is not asked for.
    keys = {scope: await hub.key(scope) for scope in (Scope.HITL_ANSWER, Scope.CHAT)}
    for method, path, operation in await described(hub):
        if path in WITHOUT_TOKEN:
            assert "security" not in operation
            continue
        scopes = [scope for one in operation["security"] for scope in one.get("bearer", [])]
        assert scopes, (method, path)
        assert set(scopes) <= set(Scope), (method, path)
        key = next(key for scope, key in keys.items() if scope not in scopes)
        body: Any = {} if method in ("POST", "PATCH") else None
        answer = await hub.http.request(method, path, headers=bearer(key["secret"]), json=body)
        assert answer.status_code == 403, (method, path, answer.text)
        assert body_of(answer)["code"] == "insufficient_scope"


async def test_nothing_is_served_that_is_not_described(hub: Served) -> None:
    shown = {(method, path) for method, path, _ in await described(hub)}
    app = hub.world.rest.app
    served = {
        (method, route.path_format) for route in _routes(app) for method in route.methods or ()
    }
    assert {(m, p.replace(":path", "")) for m, p in served} == shown


def _routes(app: FastAPI) -> list[APIRoute]:
    return [
        context.original_route
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, APIRoute)
    ]


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_the_description_needs_no_other_host(hub: Served, path: str) -> None:
    text = (await hub.http.get(path)).text
    assert "://cdn" not in text
    assert "<script" not in text
