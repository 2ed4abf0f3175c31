"""Instances: interchangeable addresses of one server."""

from dataclasses import dataclass
from datetime import datetime

from agenthub.domain.ids import EndpointId, InstanceId, WorkspaceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """How one address of a server takes part in balancing. Construction raises InvalidError.

    `weight` (1 to 1,000) is its part of its priority's calls; priority 0 comes first, a higher
    one only when those before it cannot take a call. A draining instance takes no new calls.
    The instance whose id is `endpoint_id` is the server's own address.
    """

    id: InstanceId
    workspace: WorkspaceId
    endpoint_id: EndpointId
    weight: int = 1
    priority: int = 0
    draining: bool = False
    created_at: datetime
