"""Policies by layer, kept, cached and followed through changes of servers and of the file."""

import logging
from dataclasses import replace
from typing import Any

import pytest

from agenthub.domain.entities.groups import GroupMember
from agenthub.domain.entities.identity import OWNER, Scope
from agenthub.domain.entities.resilience.filed import FileLayers, file_layers_of
from agenthub.domain.entities.resilience.policy import GatewayPolicy, RateLimit
from agenthub.domain.exceptions import ConflictError, DeniedError, InvalidError, NotFoundError
from agenthub.domain.ids import EndpointId
from agenthub.domain.services import policies
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.policies import PolicyService
from tests.fakes.clock import FakeClock
from tests.fakes.mcp_client import FakeMcpClient
from tests.fakes.storage import FakeUnitOfWork
from tests.unit.domain.services.samples import bound_to, endpoint, group, with_scopes

TIME = EndpointId("id-time")


class World:
    def __init__(self, **file: Any) -> None:
        self.uow = FakeUnitOfWork()
        self.directory = Directory()
        self.service = self.restarted(**file)
        self.told = 0
        self.service.listen(self._hear)

    def restarted(self, **file: Any) -> PolicyService:
        return PolicyService(
            client=FakeMcpClient(),
            clock=FakeClock(),
            directory=self.directory,
            file=file_layers_of(file) if file else FileLayers(),
            uow=self.uow,
        )

    async def register(self, *names: str) -> None:
        async with self.uow.begin(OWNER) as tx:
            for name in names:
                await tx.endpoints.add(endpoint(name))
            await tx.commit()
        for name in names:
            self.directory.put_endpoint(endpoint(name))

    async def stored(self) -> dict[tuple[str | None, str | None], Any]:
        async with self.uow.read(OWNER) as reading:
            return {(one.endpoint_id, one.tool): one.body for one in await reading.policies.all()}

    def _hear(self) -> None:
        self.told += 1


async def world(*names: str, **file: Any) -> World:
    made = World(**file)
    await made.register(*names)
    return made


FILE: dict[str, Any] = {
    "timeout_s": 1,
    "servers": {"time": {"timeout_s": 3, "tools": {"now": {"timeout_s": 5}}}},
}


async def test_without_layers_everything_is_as_built_in() -> None:
    hub = await world("time")
    assert hub.service.of(None) == GatewayPolicy()
    assert hub.service.of(TIME) == hub.service.of(TIME, "now") == GatewayPolicy()


async def test_layers_outdo_each_other_from_hub_to_tool_and_from_file_to_run_time() -> None:
    hub = await world("time", **FILE)
    seen = [hub.service.of(TIME, "now").timeout_s]
    for place in ((None, None), ("time", None), ("time", "now")):
        await hub.service.change(OWNER, *place, {"timeout_s": 2 + 2 * len(seen)})
        seen.append(hub.service.of(TIME, "now").timeout_s)
    assert seen == [5, 5, 5, 8]
    assert [hub.service.of(None).timeout_s, hub.service.of(TIME).timeout_s] == [4, 6]
    for place in (("time", "now"), ("time", None), (None, None)):
        await hub.service.reset(OWNER, *place)
    assert hub.service.of(None).timeout_s == 1
    assert hub.service.of(TIME).timeout_s == 3
    assert hub.service.of(TIME, "now").timeout_s == 5


async def test_a_report_shows_the_policy_with_its_own_layers() -> None:
    hub = await world("time", **FILE)
    await hub.service.change(OWNER, "time", None, {"price_usd": "0.01", "rate_limit": "none"})
    report = hub.service.show(OWNER, "id-time")
    assert report.effective == hub.service.of(TIME)
    assert report.stored == {"price_nano_usd": 10_000_000, "rate_limit": None}
    assert report.file == {"timeout_s": 3}
    assert hub.service.show(OWNER).file == {"timeout_s": 1}
    assert hub.service.show(OWNER, "time", "now").file == {"timeout_s": 5}


async def test_a_change_is_a_merge_patch_and_a_replacement_is_whole() -> None:
    hub = await world()
    await hub.service.change(OWNER, None, None, {"timeout_s": 9, "breaker": {"open_s": 1}})
    await hub.service.change(OWNER, None, None, {"timeout_s": None, "breaker": {"calm_s": 2}})
    assert await hub.stored() == {(None, None): {"breaker": {"open_s": 1, "calm_s": 2}}}
    await hub.service.change(OWNER, None, None, {"retry": {"max_retries": 0}}, replace=True)
    assert await hub.stored() == {(None, None): {"retry": {"max_retries": 0}}}
    await hub.service.change(OWNER, None, None, {"retry": None})
    assert await hub.stored() == {}


async def test_layers_outlive_a_restart() -> None:
    hub = await world("time")
    await hub.service.change(OWNER, "time", "a/b", {"rate_limit": {"rate_per_s": 2}})
    again = hub.restarted()
    await again.load()
    assert again.of(TIME, "a/b").rate_limit == RateLimit(rate_per_s=2, burst=2)
    assert again.of(TIME).rate_limit is None


@pytest.mark.parametrize(
    ("place", "layer", "loc"),
    [
        ((None, None), {"timeout_s": -1}, ("timeout_s",)),
        ((None, None), {"fallback": {"tool": "x"}}, ("fallback",)),
        (("time", None), {"balancing": "random"}, ("balancing",)),
        (("time", None), {"price_usd": 0.1}, ("price_usd",)),
        (("time", "now"), {"health": {"enabled": False}}, ("health",)),
        (("time", ""), {}, ("tool",)),
        (("time", "x" * 8_193), {}, ("tool",)),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
async def test_a_wrong_layer_changes_nothing(
    place: tuple[str | None, str | None], layer: Any, loc: tuple[str, ...], whole: bool
) -> None:
    hub = await world("time")
    with pytest.raises(InvalidError) as refused:
        await hub.service.change(OWNER, *place, layer, replace=whole)
    assert [fault.loc for fault in refused.value.faults] == [loc]
    assert await hub.stored() == {}
    assert hub.service.of(TIME, "now") == GatewayPolicy()
    assert hub.told == 0


async def test_a_layer_that_breaks_those_above_it_is_refused() -> None:
    hub = await world("time")
    await hub.service.change(OWNER, "time", "now", {"breaker": {"max_open_s": 10}})
    with pytest.raises(InvalidError) as refused:
        await hub.service.change(OWNER, None, None, {"breaker": {"open_s": 20}})
    assert [fault.loc for fault in refused.value.faults] == [("breaker", "open_s")]
    assert "now" in refused.value.message
    assert hub.service.of(None) == GatewayPolicy()


async def test_a_layer_that_another_stands_on_cannot_be_dropped() -> None:
    hub = await world("time")
    await hub.service.change(OWNER, "time", None, {"breaker": {"open_s": 1}})
    await hub.service.change(OWNER, "time", "now", {"breaker": {"max_open_s": 2}})
    with pytest.raises(InvalidError):
        await hub.service.reset(OWNER, "time")
    await hub.service.reset(OWNER, "time", "now")
    await hub.service.reset(OWNER, "time")
    assert await hub.stored() == {}


async def test_a_new_file_counts_at_once_and_is_told() -> None:
    hub = await world("time", **FILE)
    assert hub.service.of(TIME).timeout_s == 3
    told = hub.told
    assert hub.service.use_file(file_layers_of({"timeout_s": 7}))
    assert hub.service.of(TIME).timeout_s == hub.service.of(TIME, "now").timeout_s == 7
    assert hub.told == told + 1
    assert not hub.service.use_file(file_layers_of({"timeout_s": 7}))
    assert hub.told == told + 1


async def test_a_file_that_does_not_fit_is_refused_and_the_old_one_stays() -> None:
    hub = await world("time", **FILE)
    await hub.service.change(OWNER, "time", None, {"breaker": {"max_open_s": 10}})
    with pytest.raises(InvalidError):
        hub.service.use_file(file_layers_of({"breaker": {"open_s": 20}}))
    assert hub.service.of(None).timeout_s == 1


async def test_a_file_changed_while_the_hub_was_down_leaves_out_what_no_longer_fits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub = await world("time")
    limits = {"breaker": {"max_open_s": 10}, "timeout_s": 4}
    await hub.service.change(OWNER, "time", None, limits)
    again = hub.restarted(breaker={"open_s": 20})
    with caplog.at_level(logging.WARNING):
        await again.load()
        assert again.of(TIME) == again.of(None)
    assert "time" in caplog.text
    await again.change(OWNER, None, None, {"timeout_s": 8})
    await again.change(OWNER, "time", None, {"breaker": {"open_s": 5}})
    assert again.of(TIME).breaker.max_open_s == 10


async def test_a_renamed_server_keeps_its_stored_layer_and_changes_that_of_the_file() -> None:
    hub = await world("time", **FILE)
    await hub.service.change(OWNER, "time", None, {"retry": {"max_retries": 0}})
    assert hub.service.of(TIME).timeout_s == 3
    told = hub.told
    hub.directory.put_endpoint(replace(endpoint("time"), name="clock"))
    assert hub.service.of(TIME).timeout_s == 1
    assert hub.service.of(TIME).retry.max_retries == 0
    assert hub.told == told + 1


async def test_layers_of_a_removed_server_are_forgotten() -> None:
    hub = await world("time", **FILE)
    await hub.service.change(OWNER, "time", None, {"timeout_s": 9})
    hub.directory.drop_endpoint(TIME)
    assert hub.service.of(TIME).timeout_s == 1
    async with hub.uow.begin(OWNER) as tx:
        await tx.endpoints.remove(TIME)
        await tx.commit()
    assert await hub.stored() == {}


async def test_a_file_may_name_a_server_that_is_registered_later() -> None:
    hub = await world(**FILE)
    assert hub.service.of(TIME).timeout_s == 1
    await hub.register("time")
    assert hub.service.of(TIME).timeout_s == 3


async def test_other_changes_of_the_directory_are_not_told() -> None:
    hub = await world("time", "git")
    hub.directory.put_group(group("dev", "time"))
    hub.directory.put_endpoint(replace(endpoint("git"), name="gut"))
    assert hub.told == 0


async def test_a_tool_without_layers_has_its_servers_policy_itself() -> None:
    hub = await world("time", timeout_s=4)
    assert hub.service.of(TIME, "now") is hub.service.of(TIME)


async def test_a_tool_that_sets_something_else_shares_the_limit_of_its_server() -> None:
    hub = await world("time")
    await hub.service.change(OWNER, "time", None, {"rate_limit": {"rate_per_s": 5}})
    await hub.service.change(OWNER, "time", "now", {"timeout_s": 5})
    assert hub.service.of(TIME, "now").rate_limit is hub.service.of(TIME).rate_limit
    await hub.service.change(OWNER, "time", "now", {"rate_limit": {"rate_per_s": 5}})
    assert hub.service.of(TIME, "now").rate_limit is not hub.service.of(TIME).rate_limit


async def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = await world("time")
    monkeypatch.setattr(policies, "MAX_CACHED", 10)
    for number in range(50):
        hub.service.of(TIME, f"tool-{number}")
    assert len(hub.service._cache) <= 10


async def test_the_number_of_stored_layers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = await world("time")
    monkeypatch.setattr(policies, "MAX_LAYERS", 1)
    await hub.service.change(OWNER, "time", "a", {"timeout_s": 1})
    await hub.service.change(OWNER, "time", "a", {"timeout_s": 2})
    with pytest.raises(ConflictError) as refused:
        await hub.service.change(OWNER, "time", "b", {"timeout_s": 1})
    assert refused.value.code == "too_many_policies"
    assert hub.service.of(TIME, "b") == GatewayPolicy()


async def test_who_may_look_may_not_change() -> None:
    hub = await world("time")
    reader, caller = with_scopes(Scope.HUB_READ), with_scopes(Scope.TOOLS_CALL)
    assert hub.service.show(reader, "time").effective == GatewayPolicy()
    with pytest.raises(DeniedError):
        await hub.service.change(reader, None, None, {})
    with pytest.raises(DeniedError):
        await hub.service.reset(reader, "time")
    with pytest.raises(DeniedError):
        hub.service.show(caller)


async def test_a_key_of_a_group_sees_its_servers_only_and_changes_none() -> None:
    hub = await world("time", "git")
    choosy = GroupMember(endpoint_id=TIME, tools=frozenset({"now"}))
    hub.directory.put_group(group("dev", members=(choosy,)))
    key = bound_to("dev")
    hub.service.show(key, "time", "now")
    for hidden in (("git", None), ("time", "other"), ("never", None)):
        with pytest.raises(NotFoundError):
            hub.service.show(key, *hidden)
    for place in ((None, None), ("time", None), ("time", "now")):
        with pytest.raises(DeniedError) as refused:
            await hub.service.change(key, *place, {"timeout_s": 1})
        assert refused.value.code == "group_bound"
    assert await hub.stored() == {}


async def test_what_is_asked_for_by_any_name_is_not_kept() -> None:
    world = World()
    await world.register("time")
    kept = world.service.of(TIME, "now")
    for number in range(100):
        world.service.show(OWNER, "time", f"made-up-{number}")
    assert world.service.of(TIME, "now") is kept
    assert len(vars(world.service)["_cache"]) <= 2


async def test_what_is_named_but_not_there_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    made = await world("time", servers={"ghost": {"timeout_s": 4}})
    assert len(made.service.show(OWNER).warnings) == 1
    made.service.warn()
    made.service.warn()
    await made.service.change(OWNER, "time", "now", {"fallback": {"server": "gone", "tool": "x"}})
    told = [record.getMessage() for record in caplog.records]
    assert ["'ghost'" in told[0], "'gone'" in told[1], len(told)] == [True, True, 2]
    made.directory.put_group(group("dev", members=(GroupMember(endpoint_id=TIME, tools=None),)))
    assert made.service.show(bound_to("dev"), "time", "now").warnings == ()
    await made.register("ghost")
    assert made.service.show(OWNER).warnings == ()
