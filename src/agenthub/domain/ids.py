"""Identifiers: the only thing that features share by name."""

from typing import NewType

WorkspaceId = NewType("WorkspaceId", str)
EndpointId = NewType("EndpointId", str)
GroupId = NewType("GroupId", str)
KeyId = NewType("KeyId", str)
InstanceId = NewType("InstanceId", EndpointId)
"""One address of a server. The first one's id is the endpoint's own."""
BudgetId = NewType("BudgetId", str)
EntryId = NewType("EntryId", str)
NoticeTargetId = NewType("NoticeTargetId", str)
RequestId = NewType("RequestId", str)
"""A question to a person."""
HeldCallId = NewType("HeldCallId", str)
"""A call that waits for a person; the ticket that its agent comes back with."""
RuleId = NewType("RuleId", str)
"""A standing answer of a person: an approval policy, or a sampling rule."""

DEFAULT_WORKSPACE = WorkspaceId("default")
