"""Which instance of a server takes the next call, and which ones stand in for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from agenthub.domain.entities.resilience.policy import Balancing
from agenthub.domain.ids import InstanceId

PANIC_FROM = 3
"""With fewer instances a share says nothing: one of two down is half of them."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance that may be called: neither draining nor with tools of its own.

    `usable`: neither its breaker, its health nor its connection speaks against it now.
    `outstanding`: calls that it has not answered yet.
    """

    id: InstanceId
    weight: int
    priority: int
    outstanding: int
    usable: bool

    @property
    def load(self) -> float:
        return self.outstanding / self.weight


class Balancer:
    """Keeps the turns of one server's instances. Calls that stick to an instance take no turn.

    The lowest priority number comes first, a higher one only after all usable ones before it.
    Panic: when fewer than `panic_share` of three or more are usable, and so few in every
    priority, then all are used: the few left would only be trampled down as well.
    Source: docs/decisions/0005; Envoy, "Priority levels" and "Panic threshold".
    """

    def __init__(
        self, balancing: Balancing, *, panic_share: float, chance: Callable[[], float]
    ) -> None:
        self._balancing = balancing
        self._panic_share = panic_share
        self._chance = chance
        self._last: dict[int, InstanceId] = {}
        self._credit: dict[InstanceId, int] = {}

    def order(
        self, candidates: Sequence[Candidate], sticky: InstanceId | None = None
    ) -> list[InstanceId]:
        """Give the ids to try, best first; empty when there is none to use.

        `sticky` comes first while it is usable.
        """
        if len(candidates) == 1:
            return [candidates[0].id] if candidates[0].usable else []
        tiers = self._tiers(candidates)
        is_stuck = any(one.id == sticky and one.usable for one in candidates)
        order: list[InstanceId] = []
        for tier in tiers:
            ranked = self._ranked(tier)
            if not is_stuck:
                self._take_turn(tier, ranked[0])
            order += [one.id for one in ranked]
        if sticky is not None and is_stuck:
            order.remove(sticky)
            order.insert(0, sticky)
        self._forget_all_but(candidates)
        return order

    def _tiers(self, candidates: Sequence[Candidate]) -> list[list[Candidate]]:
        by_priority = sorted(candidates, key=lambda one: (one.priority, one.id))
        tiers = [list(tier) for _, tier in groupby(by_priority, lambda one: one.priority)]
        is_panic = len(candidates) >= PANIC_FROM and all(map(self._is_poor, [candidates, *tiers]))
        if is_panic:
            return tiers
        usable = [[one for one in tier if one.usable] for tier in tiers]
        return [tier for tier in usable if tier]

    def _is_poor(self, tier: Sequence[Candidate]) -> bool:
        return sum(one.usable for one in tier) < self._panic_share * len(tier)

    def _ranked(self, tier: list[Candidate]) -> list[Candidate]:
        match self._balancing:
            case Balancing.ROUND_ROBIN:
                last = self._last.get(tier[0].priority)
                return sorted(tier, key=lambda one: last is not None and one.id <= last)
            case Balancing.WEIGHTED_ROUND_ROBIN:
                return sorted(tier, key=lambda one: -self._credit.get(one.id, 0) - one.weight)
            case Balancing.LEAST_REQUEST:
                return self._least_of_two(tier)

    def _take_turn(self, tier: list[Candidate], taken: Candidate) -> None:
        """Note who was first. Credits are nginx's smooth weighted round robin (commit 52327e0)."""
        match self._balancing:
            case Balancing.ROUND_ROBIN:
                self._last[taken.priority] = taken.id
            case Balancing.WEIGHTED_ROUND_ROBIN:
                for one in tier:
                    self._credit[one.id] = self._credit.get(one.id, 0) + one.weight
                self._credit[taken.id] -= sum(one.weight for one in tier)
            case Balancing.LEAST_REQUEST:
                pass

    def _least_of_two(self, tier: list[Candidate]) -> list[Candidate]:
        """Draw two by weight; the less busy one is first. The rest follow, least busy first."""
        rest = list(tier)
        first = self._drawn(rest)
        if not rest:
            return [first]
        second = self._drawn(rest)
        pair = [first, second] if first.load <= second.load else [second, first]
        return [*pair, *sorted(rest, key=lambda one: one.load)]

    def _drawn(self, pool: list[Candidate]) -> Candidate:
        """Take one out of the pool, as likely as its weight says."""
        mark = self._chance() * sum(one.weight for one in pool)
        index = 0
        while index < len(pool) - 1 and mark >= pool[index].weight:
            mark -= pool[index].weight
            index += 1
        return pool.pop(index)

    def _forget_all_but(self, candidates: Sequence[Candidate]) -> None:
        if len(self._credit) > len(candidates):
            present = {one.id for one in candidates}
            self._credit = {key: v for key, v in self._credit.items() if key in present}
        if len(self._last) > len(candidates):
            priorities = {one.priority for one in candidates}
            self._last = {p: last for p, last in self._last.items() if p in priorities}
