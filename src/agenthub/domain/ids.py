"""Identifiers: the only thing that features share by name."""

from typing import NewType

WorkspaceId = NewType("WorkspaceId", str)
EndpointId = NewType("EndpointId", str)
GroupId = NewType("GroupId", str)
KeyId = NewType("KeyId", str)

DEFAULT_WORKSPACE = WorkspaceId("default")
