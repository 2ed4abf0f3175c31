"""The guards of one server: its instances, how calls are spread over them, limits, retries."""

from collections import OrderedDict
from collections.abc import Callable

from agenthub.domain.entities.endpoints import Endpoint, HttpTransport
from agenthub.domain.entities.instances import Instance
from agenthub.domain.entities.resilience.policy import GatewayPolicy
from agenthub.domain.entities.resilience.retry import RetryBudget
from agenthub.domain.entities.routing.balancer import Balancer, Candidate
from agenthub.domain.ids import InstanceId
from agenthub.domain.services.resilience.instances import InstanceGuard, News
from agenthub.domain.services.resilience.limits import RateLimits

HTTP_PLACES = 16
STDIO_PLACES = 4
MAX_STICKY = 10_000


class ServerGuard:
    """`is_equal` and `is_usable` are what others know of instances (see `InstanceWatch`)."""

    def __init__(
        self,
        endpoint: Endpoint,
        instances: tuple[Instance, ...],
        policy: GatewayPolicy,
        *,
        chance: Callable[[], float],
        is_equal: Callable[[InstanceId], bool],
        is_usable: Callable[[InstanceId], bool],
        news: News,
        now: float,
    ) -> None:
        self.endpoint = endpoint
        self.limits = RateLimits(endpoint.name)
        self.retries = RetryBudget(policy.retry)
        self._policy = policy
        self._chance = chance
        self._is_equal = is_equal
        self._is_usable = is_usable
        self._news = news
        self._balancer = self._new_balancer()
        self._members: dict[InstanceId, Instance] = {}
        self._guards: dict[InstanceId, InstanceGuard] = {}
        self._sticky: OrderedDict[str, InstanceId] = OrderedDict()
        self.follow(endpoint, instances, now)

    @property
    def guards(self) -> list[InstanceGuard]:
        return list(self._guards.values())

    def guard(self, instance_id: InstanceId) -> InstanceGuard | None:
        return self._guards.get(instance_id)

    def follow(self, endpoint: Endpoint, instances: tuple[Instance, ...], now: float) -> None:
        """Take note of how the server and its instances are registered now."""
        self.endpoint = endpoint
        self._members = {instance.id: instance for instance in instances}
        for gone in self._guards.keys() - self._members.keys():
            del self._guards[gone]
        for instance_id in self._members:
            if instance_id not in self._guards:
                self._guards[instance_id] = InstanceGuard(
                    instance_id,
                    endpoint.name,
                    self._policy,
                    self._places(),
                    chance=self._chance,
                    news=self._news,
                    now=now,
                )
        self.limits.server = endpoint.name
        for guard in self._guards.values():
            guard.server = endpoint.name
            guard.use(self._policy, self._places())  # a program has other places than an address

    def use(self, policy: GatewayPolicy) -> None:
        """Go by changed rules from now on; what was counted stays counted."""
        if policy == self._policy:
            return
        was, self._policy = self._policy, policy
        if (was.balancing, was.panic_share) != (policy.balancing, policy.panic_share):
            self._balancer = self._new_balancer()
        if was.retry != policy.retry:
            self.retries.use(policy.retry)
        for guard in self._guards.values():
            guard.use(policy, self._places())

    def choose(self, client: str | None, tried: set[InstanceId], now: float) -> list[InstanceGuard]:
        """Give the instances in the order in which a call should try them; best first.

        Those already tried come last. `client` keeps its instance while that can be used (a
        legacy session lives there). None that is being drained or offers other tools is given,
        unless there is no other. Never empty.
        """
        if len(self._guards) == 1:
            return self.guards
        members = [i for i in self._members.values() if not i.draining and self._is_equal(i.id)]
        candidates = [self._candidate(one, now) for one in members or self._members.values()]
        wanted = None if client is None else self._sticky.get(client)
        order = self._balancer.order(candidates, wanted) or [c.id for c in candidates]
        return [self._guards[instance_id] for instance_id in sorted(order, key=tried.__contains__)]

    def has_other(self, tried: set[InstanceId], now: float) -> bool:
        """Say whether an instance that was not tried yet would take a call now."""
        others = (one for one in self._members.values() if one.id not in tried)
        return any(self._is_equal(one.id) and self._candidate(one, now).usable for one in others)

    def stick(self, client: str, instance_id: InstanceId) -> None:
        """Remember where this client's session is."""
        if len(self._guards) == 1:
            return
        self._sticky[client] = instance_id
        self._sticky.move_to_end(client)
        if len(self._sticky) > MAX_STICKY:
            self._sticky.popitem(last=False)

    def _candidate(self, instance: Instance, now: float) -> Candidate:
        guard = self._guards[instance.id]
        usable = (
            not instance.draining and guard.refusal(now) is None and self._is_usable(instance.id)
        )
        return Candidate(
            id=instance.id,
            weight=instance.weight,
            priority=instance.priority,
            outstanding=guard.outstanding,
            usable=usable,
        )

    def _new_balancer(self) -> Balancer:
        return Balancer(
            self._policy.balancing, panic_share=self._policy.panic_share, chance=self._chance
        )

    def _places(self) -> int:
        chosen = self._policy.bulkhead.max_concurrent
        if chosen is not None:
            return chosen
        return HTTP_PLACES if isinstance(self.endpoint.transport, HttpTransport) else STDIO_PLACES
