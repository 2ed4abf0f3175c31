"""What others know of instances, joined for whoever chooses between them."""

from agenthub.domain.entities.monitoring import HealthState
from agenthub.domain.ids import InstanceId
from agenthub.domain.services.instances.keeper import InstanceKeeper
from agenthub.domain.services.monitoring import HealthService
from agenthub.domain.services.resilience.attempts import InstanceWatch


class ServiceWatch(InstanceWatch):
    """Health probes, connections, and the comparison of tools."""

    def __init__(self, *, health: HealthService, keeper: InstanceKeeper) -> None:
        self._health = health
        self._keeper = keeper

    def is_equal(self, instance_id: InstanceId) -> bool:
        return self._keeper.agrees(instance_id)

    def is_usable(self, instance_id: InstanceId) -> bool:
        is_ill = self._health.state(instance_id) is HealthState.UNHEALTHY
        return not is_ill and self._keeper.usable(instance_id)

    def note_success(self, instance_id: InstanceId) -> None:
        self._health.note_success(instance_id)
