"""Groups: a named set of servers, or of chosen items of them, with endpoints of its own."""

import re
from dataclasses import dataclass
from datetime import datetime

from agenthub.domain.exceptions import InvalidError
from agenthub.domain.ids import EndpointId, GroupId, WorkspaceId

SLUG = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """One server of a group. None means all of a kind; a set names the chosen ones.

    Names and URIs are the server's own, not namespaced. A resource template is chosen by its
    template string.
    """

    endpoint_id: EndpointId
    tools: frozenset[str] | None = None
    resources: frozenset[str] | None = None
    prompts: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group; `slug` is its part of the endpoint's path and unique in the workspace."""

    id: GroupId
    workspace: WorkspaceId
    slug: str
    name: str
    description: str
    members: tuple[GroupMember, ...]
    created_at: datetime
    updated_at: datetime

    def __post_init__(self) -> None:
        if not SLUG.fullmatch(self.slug):
            raise InvalidError.at(
                "slug", message="must match ^[a-z][a-z0-9-]{0,31}$", code="invalid_slug"
            )
        seen = [member.endpoint_id for member in self.members]
        if len(seen) != len(set(seen)):
            raise InvalidError.at("members", message="names a server twice")

    def member(self, endpoint_id: EndpointId) -> GroupMember | None:
        return next((m for m in self.members if m.endpoint_id == endpoint_id), None)
