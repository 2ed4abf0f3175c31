"""What others know of instances, joined for whoever chooses between them."""

from agenthub.domain.entities.monitoring import HealthState
from agenthub.domain.ids import InstanceId
from agenthub.domain.services.monitoring import HealthService
from agenthub.domain.services.resilience.attempts import InstanceWatch


class ServiceWatch(InstanceWatch):
    """Health probes."""

    def __init__(self, *, health: HealthService) -> None:
        self._health = health

    def is_usable(self, instance_id: InstanceId) -> bool:
        return self._health.state(instance_id) is not HealthState.UNHEALTHY

    def note_success(self, instance_id: InstanceId) -> None:
        self._health.note_success(instance_id)
