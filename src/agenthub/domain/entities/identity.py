"""Who may do what: principals, scopes, API keys."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agenthub.domain.exceptions import DeniedError
from agenthub.domain.ids import DEFAULT_WORKSPACE, GroupId, KeyId, WorkspaceId


class Scope(StrEnum):
    """What a key may do. `ADMIN` contains all others."""

    ADMIN = "admin"
    HUB_READ = "hub:read"
    HUB_WRITE = "hub:write"
    TOOLS_CALL = "tools:call"
    RESOURCES_READ = "resources:read"
    PROMPTS_GET = "prompts:get"
    HITL_ANSWER = "hitl:answer"
    CHAT = "chat"


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated party behind a request; every service call takes one.

    `subject` is "owner" or the key's id. `group` binds the principal to one group: it then sees
    and calls nothing else.
    """

    workspace: WorkspaceId
    subject: str
    scopes: frozenset[Scope]
    group: GroupId | None = None
    expires_at: datetime | None = None

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def require(self, scope: Scope) -> None:
        """Raise DeniedError unless this principal has `scope`."""
        if not self.allows(scope):
            raise DeniedError(
                f"This needs the scope {scope.value!r}; make a key that has it.",
                code="insufficient_scope",
            )


OWNER = Principal(DEFAULT_WORKSPACE, "owner", ALL_SCOPES)
"""The holder of the owner token, and the hub itself when it acts on its own account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is kept: only `secret_sha256` (hex) of the secret, and its readable `prefix`."""

    id: KeyId
    workspace: WorkspaceId
    name: str
    prefix: str
    secret_sha256: str
    scopes: frozenset[Scope]
    group: GroupId | None
    created_at: datetime
    expires_at: datetime | None

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def principal(self) -> Principal:
        return Principal(self.workspace, self.id, self.scopes, self.group, self.expires_at)
