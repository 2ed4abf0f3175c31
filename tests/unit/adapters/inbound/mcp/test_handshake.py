"""How the hub introduces itself at each kind of endpoint."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from agenthub.adapters.inbound.mcp.handshake import (
    HOW_NAMES_ARE_MADE,
    Introduction,
    discover_result,
    initialize_result,
)
from agenthub.adapters.inbound.mcp.versions import LEGACY_VERSIONS
from agenthub.domain.entities.endpoints import ConnectionStatus, EndpointState, Era
from agenthub.domain.entities.groups import Group
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, GroupId
from agenthub.domain.services.catalog.views import View

NEW = "2025-11-25"
JOINT = Introduction(View(OWNER))
SERVER = View(OWNER, server=EndpointId("e"))
UI = "io.modelcontextprotocol/ui"


def hello(introduction: Introduction, version: str = NEW) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(initialize_result(introduction, version))
    return parsed


def state(eras: tuple[Era, ...] = (Era.LEGACY,), **capabilities: Any) -> EndpointState:
    return EndpointState(
        status=ConnectionStatus.READY,
        eras=eras,
        server_info={"name": "theirs", "version": "9"},
        capabilities=capabilities,
        instructions="Be kind.",
    )


def test_a_joint_endpoint_is_the_hub_and_carries_everything() -> None:
    read = hello(JOINT)
    assert read["protocolVersion"] == NEW
    assert read["serverInfo"]["name"] == "agenthub"
    assert read["serverInfo"]["title"] == "AgentHub"
    assert read["instructions"] == HOW_NAMES_ARE_MADE
    assert read["capabilities"] == {
        "tools": {"listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
        "prompts": {"listChanged": True},
        "completions": {},
        "logging": {},
        "extensions": {UI: {}},
    }


@pytest.mark.parametrize("version", LEGACY_VERSIONS)
def test_an_older_agent_hears_only_what_its_revision_knows(version: str) -> None:
    read = hello(JOINT, version)
    assert ("title" in read["serverInfo"]) is (version >= "2025-06-18")
    assert ("completions" in read["capabilities"]) is (version >= "2025-03-26")
    assert ("extensions" in read["capabilities"]) is (version >= NEW)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope.TOOLS_CALL, {"tools", "logging", "extensions"}),
        (Scope.RESOURCES_READ, {"resources", "logging", "extensions"}),
        (Scope.PROMPTS_GET, {"prompts", "completions", "logging", "extensions"}),
        (Scope.HUB_READ, {"tools", "resources", "prompts", "logging", "extensions"}),
        (Scope.CHAT, {"logging", "extensions"}),
        (Scope.ADMIN, {"tools", "resources", "prompts", "completions", "logging", "extensions"}),
    ],
)
def test_a_principal_hears_only_what_it_may_use(scope: Scope, expected: set[str]) -> None:
    principal = Principal(DEFAULT_WORKSPACE, "key", frozenset({scope}))
    assert hello(Introduction(View(principal)))["capabilities"].keys() == expected


def test_a_servers_own_endpoint_offers_what_the_server_has_but_is_the_hub() -> None:
    read = hello(Introduction(SERVER, state(tools={}, resources={"subscribe": False}, other={})))
    assert read["capabilities"] == {
        "tools": {"listChanged": True},
        "resources": {"listChanged": True},
    }
    assert read["instructions"] == "Be kind."
    assert read["serverInfo"]["name"] == "agenthub"


def test_what_the_server_has_in_full_is_offered_in_full() -> None:
    theirs = state(
        resources={"subscribe": True}, logging={}, completions={}, extensions={UI: {"a": 1}}
    )
    assert hello(Introduction(SERVER, theirs))["capabilities"] == {
        "resources": {"subscribe": True, "listChanged": True},
        "logging": {},
        "completions": {},
        "extensions": {UI: {}},
    }
    others = state(extensions={"com.example/x": {}})
    assert "extensions" not in hello(Introduction(SERVER, others))["capabilities"]


def test_a_server_that_was_never_reached_may_have_everything() -> None:
    unknown = EndpointState(status=ConnectionStatus.UNREACHABLE)
    read = hello(Introduction(SERVER, unknown))
    assert read["capabilities"] == hello(JOINT)["capabilities"]
    assert "instructions" not in read


def test_a_group_is_described() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    group = Group(
        id=GroupId("g"),
        workspace=DEFAULT_WORKSPACE,
        slug="research",
        name="Research",
        description="Finds papers.",
        members=(),
        created_at=at,
        updated_at=at,
    )
    read = hello(Introduction(View(OWNER, GroupId("g")), group=group))
    assert read["instructions"].startswith("Finds papers.")
    assert HOW_NAMES_ARE_MADE in read["instructions"]


def test_discovery_says_the_same_without_a_session() -> None:
    read = json.loads(discover_result(JOINT))
    assert read["supportedVersions"][0] == "2026-07-28"
    assert read["capabilities"] == hello(JOINT)["capabilities"]
    assert (read["resultType"], read["ttlMs"], read["cacheScope"]) == ("complete", 0, "private")
    assert read["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "agenthub"
    assert "protocolVersion" not in read
