"""Instances: interchangeable addresses of one server."""

from dataclasses import dataclass
from datetime import datetime

from agenthub.domain.exceptions import FieldFault, InvalidError
from agenthub.domain.ids import EndpointId, InstanceId, WorkspaceId

MAX_WEIGHT = 1_000
MAX_PRIORITY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """How one address of a server takes part in balancing. Construction raises InvalidError.

    `weight` (1 to 1,000) is its part of its priority's calls; priority 0 comes first, a higher
    one (up to 100) only when those before it cannot take a call. A draining instance takes no
    new calls.
    The instance whose id is `endpoint_id` is the server's own address.
    """

    id: InstanceId
    workspace: WorkspaceId
    endpoint_id: EndpointId
    weight: int = 1
    priority: int = 0
    draining: bool = False
    created_at: datetime

    def __post_init__(self) -> None:
        faults: list[FieldFault] = []
        if not 1 <= self.weight <= MAX_WEIGHT:
            faults.append(FieldFault(("weight",), f"must be from 1 to {MAX_WEIGHT:,}"))
        if not 0 <= self.priority <= MAX_PRIORITY:
            faults.append(FieldFault(("priority",), f"must be from 0 to {MAX_PRIORITY}"))
        if faults:
            text = "; ".join(f"{fault.loc[0]}: {fault.message}" for fault in faults)
            raise InvalidError(text, faults=tuple(faults), code="invalid_instance")

    @property
    def is_own(self) -> bool:
        """Whether it is the server's own address, and not a further one."""
        return self.id == self.endpoint_id


def own_instance(endpoint_id: EndpointId, workspace: WorkspaceId, created_at: datetime) -> Instance:
    """Give the instance that every server has: its own address."""
    return Instance(
        id=InstanceId(endpoint_id),
        workspace=workspace,
        endpoint_id=endpoint_id,
        created_at=created_at,
    )
