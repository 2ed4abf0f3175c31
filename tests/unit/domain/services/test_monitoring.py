"""Every enabled server is probed in its own time, and a change of its health is told."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import pytest

from agenthub.domain.entities.endpoints import ConnectionStatus, EndpointState, HttpTransport
from agenthub.domain.entities.instances import Instance
from agenthub.domain.entities.monitoring import HealthState
from agenthub.domain.entities.resilience.policy import GatewayPolicy, HealthPolicy
from agenthub.domain.event import StoredEvent
from agenthub.domain.exceptions import TimedOutError
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, InstanceId
from agenthub.domain.services.announcer import Announcer
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.monitoring import MAX_AT_ONCE, HealthService
from tests.fakes.clock import FakeChance, FakeClock
from tests.fakes.mcp_client import READY, FakeMcpClient
from tests.fakes.storage import FakeUnitOfWork
from tests.support.pauses import Pauses
from tests.support.waiting import eventually
from tests.unit.domain.services.samples import AT, endpoint

DEMO, OTHER = endpoint("demo"), endpoint("other")
DOWN = EndpointState(status=ConnectionStatus.UNREACHABLE, last_error="refused")
INTERVAL_S = 30.0
ROUND_S = 1.2 * INTERVAL_S
"""After so long a server that was seen is due, whatever its jitter."""


def instance(id: str) -> Instance:  # noqa: A002
    return Instance(
        id=InstanceId(EndpointId(id)),
        workspace=DEFAULT_WORKSPACE,
        endpoint_id=DEMO.id,
        created_at=AT,
    )


class Ward:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pauses = Pauses(self.clock)
        self.uow = FakeUnitOfWork(clock=self.clock)
        self.client = FakeMcpClient()
        self.directory = Directory()
        self.listeners: list[Callable[[], None]] = []
        self.policies: dict[EndpointId, HealthPolicy] = {}
        self.announcer = Announcer(
            client=self.client, clock=self.clock, directory=self.directory, uow=self.uow
        )
        self.health = HealthService(
            announcer=self.announcer,
            chance=FakeChance(),
            client=self.client,
            clock=self.clock,
            directory=self.directory,
            listen_to_policies=self.listeners.append,
            policy_of=self._policy_of,
            pause=self.pauses.pause,
        )
        self.client.attach(self.health)

    @property
    def told(self) -> list[StoredEvent]:
        return self.uow.rows[DEFAULT_WORKSPACE].events

    def _policy_of(self, endpoint_id: EndpointId) -> GatewayPolicy:
        return GatewayPolicy(health=self.policies.get(endpoint_id, HealthPolicy()))

    def policies_change(self) -> None:
        for listener in self.listeners:
            listener()

    async def adds(self, *names: str) -> None:
        for name in names:
            self.directory.put_endpoint(endpoint(name))
            await self.client.connect(endpoint(name))

    async def probes(self, count: int, *, waiting: int = 1) -> None:
        """Let so many probes happen, one after the other."""
        for _ in range(count):
            before = len(self.client.probed)
            while len(self.client.probed) == before:
                await self.pauses.pass_by(ROUND_S, waiting=waiting)
            await eventually(lambda: self.pauses.waiting >= waiting)


@pytest.fixture
async def ward() -> AsyncGenerator[Ward]:
    made = Ward()
    async with made.announcer, made.health:
        yield made


async def test_a_server_is_healthy_as_soon_as_it_is_connected(ward: Ward) -> None:
    assert ward.health.state(DEMO.id) is HealthState.UNKNOWN
    await ward.adds("demo")
    assert ward.health.state(DEMO.id) is HealthState.HEALTHY
    assert ward.told == []


async def test_three_failures_make_it_unhealthy_and_two_successes_healthy(ward: Ward) -> None:
    await ward.adds("demo")
    ward.client.probe_faults[DEMO.id] = TimedOutError("demo did not answer in time.")
    await ward.probes(2)
    assert ward.health.state(DEMO.id) is HealthState.HEALTHY
    await ward.probes(1)
    assert ward.health.health(DEMO.id).fault == "demo did not answer in time."
    await eventually(lambda: len(ward.told) == 1)
    del ward.client.probe_faults[DEMO.id]
    await ward.probes(1)
    assert ward.health.state(DEMO.id) is HealthState.UNHEALTHY
    await ward.probes(1)
    assert ward.health.state(DEMO.id) is HealthState.HEALTHY
    await eventually(lambda: len(ward.told) == 2)
    assert [(e.name, e.facts["status"], e.facts["detail"]) for e in ward.told] == [
        ("server.status", "unhealthy", "demo did not answer in time."),
        ("server.status", "healthy", None),
    ]


async def test_a_server_that_is_not_connected_counts_as_one_that_does_not_answer(
    ward: Ward,
) -> None:
    ward.client.fates[DEMO.id] = DOWN
    await ward.adds("demo")
    await ward.probes(3)
    assert ward.health.state(DEMO.id) is HealthState.UNHEALTHY


async def test_a_dead_server_that_connects_again_is_asked_at_once(ward: Ward) -> None:
    ward.client.fates[DEMO.id] = DOWN
    await ward.adds("demo")
    await ward.probes(12)
    ward.client.become(DEMO.id, READY)
    await eventually(lambda: ward.health.state(DEMO.id) is HealthState.HEALTHY)


async def test_the_longer_a_server_is_dead_the_more_rarely_it_is_probed(ward: Ward) -> None:
    ward.client.fates[DEMO.id] = DOWN
    await ward.adds("demo")
    await ward.probes(30)
    assert max(ward.pauses.taken[:5]) <= ROUND_S
    assert 8 * INTERVAL_S <= ward.pauses.taken[-1] <= 12 * INTERVAL_S


async def test_a_busy_server_is_not_probed(ward: Ward) -> None:
    await ward.adds("demo")
    for _ in range(20):
        await ward.pauses.pass_by(INTERVAL_S / 2)
        ward.health.note_success(DEMO.id)
        await eventually(lambda: ward.pauses.waiting)
    assert len(ward.client.probed) <= 1
    await ward.probes(1)


async def test_calls_that_succeed_heal_a_server(ward: Ward) -> None:
    await ward.adds("demo")
    ward.client.probe_faults[DEMO.id] = TimedOutError("silence")
    await ward.probes(3)
    assert ward.health.state(DEMO.id) is HealthState.UNHEALTHY
    ward.health.note_success(DEMO.id)
    ward.health.note_success(DEMO.id)
    assert ward.health.state(DEMO.id) is HealthState.HEALTHY


async def test_a_server_at_work_on_its_only_pipe_is_not_judged(ward: Ward) -> None:
    await ward.adds("demo")
    ward.client.probe_faults[DEMO.id] = TimedOutError("silence")
    await ward.probes(2)
    del ward.client.probe_faults[DEMO.id]
    ward.client.at_work.add(DEMO.id)
    await ward.probes(3)
    assert ward.health.health(DEMO.id).fault == "silence"
    assert ward.health.state(DEMO.id) is HealthState.HEALTHY


async def test_a_disabled_or_removed_server_is_no_longer_probed(ward: Ward) -> None:
    await ward.adds("demo", "other")
    await eventually(lambda: ward.pauses.waiting == 2)
    ward.directory.put_endpoint(endpoint("demo", enabled=False))
    ward.directory.drop_endpoint(OTHER.id)
    await eventually(lambda: ward.pauses.waiting == 0)
    assert ward.health.state(DEMO.id) is ward.health.state(OTHER.id) is HealthState.UNKNOWN
    ward.directory.put_endpoint(DEMO)
    await ward.probes(1)


async def test_a_server_with_another_address_is_judged_anew(ward: Ward) -> None:
    await ward.adds("demo")
    moved = replace(DEMO, transport=HttpTransport(url="http://127.0.0.1:10/mcp"))
    ward.directory.put_endpoint(replace(DEMO, tags=("x",)))
    assert ward.health.state(DEMO.id) is HealthState.HEALTHY
    ward.directory.put_endpoint(moved)
    assert ward.health.state(DEMO.id) is HealthState.UNKNOWN


async def test_probing_can_be_turned_off_and_on_by_policy(ward: Ward) -> None:
    await ward.adds("demo")
    await eventually(lambda: ward.pauses.waiting == 1)
    ward.policies[DEMO.id] = HealthPolicy(enabled=False)
    ward.policies_change()
    await eventually(lambda: ward.pauses.waiting == 0)
    assert ward.health.state(DEMO.id) is HealthState.UNKNOWN
    ward.policies[DEMO.id] = HealthPolicy(interval_s=5, down_after=1)
    ward.policies_change()
    ward.client.probe_faults[DEMO.id] = TimedOutError("silence")
    await eventually(lambda: ward.pauses.waiting == 1)
    assert ward.pauses.taken[-1] <= 6
    await ward.probes(1)
    assert ward.health.state(DEMO.id) is HealthState.UNHEALTHY


async def test_only_so_many_are_probed_at_the_same_time(ward: Ward) -> None:
    names = [f"s{number}" for number in range(MAX_AT_ONCE + 3)]
    await ward.adds(*names)
    ward.client.probes_held.clear()
    await ward.pauses.pass_by(ROUND_S, waiting=len(names))
    await ward.pauses.pass_by(ROUND_S, waiting=0)
    await eventually(lambda: len(ward.client.probed) == MAX_AT_ONCE)
    ward.client.probes_held.set()
    await eventually(lambda: len(ward.client.probed) == len(names))


async def test_one_that_hangs_delays_no_other(ward: Ward) -> None:
    await ward.adds("demo", "other")
    ward.client.fates[OTHER.id] = READY
    ward.client.probe_faults[DEMO.id] = TimedOutError("silence")
    await ward.probes(8, waiting=2)
    assert ward.health.state(DEMO.id) is HealthState.UNHEALTHY
    assert ward.health.state(OTHER.id) is HealthState.HEALTHY


async def test_a_bug_while_probing_is_a_failed_probe_and_no_end(
    ward: Ward, caplog: pytest.LogCaptureFixture
) -> None:
    await ward.adds("demo")
    ward.client.probe_faults[DEMO.id] = ZeroDivisionError()
    await ward.probes(3)
    assert ward.health.state(DEMO.id) is HealthState.UNHEALTHY
    assert "ZeroDivisionError" in caplog.text


async def test_every_instance_of_a_server_is_judged_by_itself(ward: Ward) -> None:
    await ward.adds("demo")
    second = replace(DEMO, id=EndpointId("I2"))
    ward.directory.put_instances(DEMO.id, (instance("I2"),))
    await ward.client.connect(second)
    ward.client.probe_faults[second.id] = TimedOutError("silence")
    await ward.probes(8, waiting=2)
    assert ward.health.state(second.id) is HealthState.UNHEALTHY
    assert ward.health.state(DEMO.id) is HealthState.HEALTHY
    await eventually(lambda: len(ward.told) == 1)
    assert (ward.told[0].facts["server"], ward.told[0].facts["instance"]) == ("demo", "I2")
    ward.directory.put_instances(DEMO.id, ())
    assert ward.health.state(second.id) is HealthState.UNKNOWN


async def test_what_was_registered_before_the_start_is_watched_too() -> None:
    ward = Ward()
    await ward.adds("demo")
    async with ward.announcer, ward.health:
        await ward.probes(1)
    assert ward.client.probed == [DEMO.id]
    assert ward.health.state(DEMO.id) is HealthState.UNKNOWN


async def test_leaving_ends_a_probe_under_way() -> None:
    ward = Ward()
    async with asyncio.timeout(5), ward.announcer, ward.health:
        await ward.adds("demo")
        ward.client.probes_held.clear()
        await ward.pauses.pass_by(2 * ROUND_S)
        await eventually(lambda: ward.client.probed)
