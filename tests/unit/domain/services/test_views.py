from dataclasses import replace

import pytest

from agenthub.domain.entities.catalog.listing import EMPTY, ItemKind
from agenthub.domain.entities.endpoints import Endpoint, Era
from agenthub.domain.entities.groups import GroupMember
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import NotFoundError
from agenthub.domain.ids import EndpointId, InstanceId
from agenthub.domain.services.catalog.views import CatalogService, View
from agenthub.domain.services.directory import Directory
from tests.fakes.mcp_client import FakeMcpClient
from tests.unit.domain.services.samples import bound_to, catalog, endpoint, group, own

OFFERS = catalog(
    tools=["add", "echo"],
    resources=["demo://a", "demo://b"],
    resource_templates=["notes://{name}"],
    prompts=["ask"],
)


class House:
    def __init__(self) -> None:
        self.client = FakeMcpClient()
        self.directory = Directory()
        self.service = CatalogService(client=self.client, directory=self.directory)
        self.client.attach(self.service)

    async def server(self, name: str, *, enabled: bool = True) -> None:
        one = endpoint(name, enabled=enabled)
        self.directory.put_endpoint(one)
        await self.client.connect(one)
        self.client.offer(one.id, OFFERS)

    def keys(self, view: View, kind: ItemKind = ItemKind.TOOLS) -> list[str]:
        return [one.key for one in self.service.offer(view, Era.MODERN).items(kind)]


@pytest.fixture
async def house() -> House:
    made = House()
    for name in ("calc", "time"):
        await made.server(name)
    return made


async def test_the_joint_view_shows_all_servers_under_their_names(house: House) -> None:
    view = house.service.view_all(OWNER)
    assert house.keys(view) == ["calc__add", "calc__echo", "time__add", "time__echo"]
    assert house.keys(view, ItemKind.RESOURCES)[0] == "calc+demo://a"
    assert house.keys(view, ItemKind.TEMPLATES) == ["calc+notes://{name}", "time+notes://{name}"]
    assert house.keys(view, ItemKind.PROMPTS) == ["calc__ask", "time__ask"]


async def test_a_servers_own_view_leaves_everything_untouched(house: House) -> None:
    for name in ("calc", "id-calc"):
        view = house.service.view_server(OWNER, name)
        assert house.keys(view) == ["add", "echo"]
        target = house.service.find_uri(view, "demo://whatever")
        assert target is not None
        assert (target.server, target.key) == ("calc", "demo://whatever")


async def test_a_group_shows_its_members_and_their_chosen_items_only(house: House) -> None:
    chosen = GroupMember(
        endpoint_id=EndpointId("id-time"),
        tools=frozenset({"echo"}),
        resources=frozenset({"demo://b", "notes://{name}"}),
        prompts=frozenset(),
    )
    house.directory.put_group(group("g", members=(chosen,)))
    view = house.service.view_group(OWNER, "g")
    assert house.keys(view) == ["time__echo"]
    assert house.keys(view, ItemKind.RESOURCES) == ["time+demo://b"]
    assert house.keys(view, ItemKind.TEMPLATES) == ["time+notes://{name}"]
    assert house.keys(view, ItemKind.PROMPTS) == []
    assert house.service.find_uri(view, "time+notes://x") is not None
    assert house.service.find_uri(view, "time+demo://a") is None
    assert house.service.find_uri(view, "calc+demo://a") is None


async def test_a_bound_key_sees_its_group_everywhere_and_nothing_else(house: House) -> None:
    house.directory.put_group(group("g", "time"))
    house.directory.put_group(group("other", "calc"))
    key = bound_to("g")
    assert house.keys(house.service.view_all(key)) == ["time__add", "time__echo"]
    assert house.keys(house.service.view_group(key, "g")) == ["time__add", "time__echo"]
    assert house.keys(house.service.view_server(key, "time")) == ["add", "echo"]
    for refused in (
        lambda: house.service.view_group(key, "other"),
        lambda: house.service.view_server(key, "calc"),
    ):
        with pytest.raises(NotFoundError):
            refused()


async def test_a_key_of_a_removed_group_sees_nothing(house: House) -> None:
    assert house.keys(house.service.view_all(bound_to("gone"))) == []


async def test_a_disabled_server_disappears(house: House) -> None:
    house.directory.put_endpoint(endpoint("calc", enabled=False))
    view = house.service.view_all(OWNER)
    assert house.keys(view) == ["time__add", "time__echo"]
    assert house.service.find_uri(view, "calc+demo://a") is None


@pytest.mark.parametrize("uri", ["demo://a", "nobody+demo://a", "", "ui://nobody/x"])
async def test_a_uri_of_no_server_leads_nowhere(house: House, uri: str) -> None:
    assert house.service.find_uri(house.service.view_all(OWNER), uri) is None


async def test_an_offer_is_kept_until_something_changes(house: House) -> None:
    view = house.service.view_all(OWNER)
    first = house.service.offer(view, Era.MODERN)
    assert house.service.offer(view, Era.MODERN) is first
    house.client.offer(EndpointId("id-calc"), catalog(tools=["sub"]))
    assert house.keys(view) == ["calc__sub", "time__add", "time__echo"]
    house.directory.drop_endpoint(EndpointId("id-time"))
    assert house.keys(view) == ["calc__sub"]


async def test_agents_of_each_era_see_what_the_server_offers_in_theirs(house: House) -> None:
    house.client.offer(EndpointId("id-calc"), catalog(tools=["old"]), Era.LEGACY)
    view = house.service.view_server(OWNER, "calc")
    legacy = house.service.offer(view, Era.LEGACY).items(ItemKind.TOOLS)
    assert [one.key for one in legacy] == ["old"]
    assert house.keys(view) == ["add", "echo"]


async def test_changes_of_catalogue_directory_and_resources_are_told(house: House) -> None:
    changes: list[str] = []
    updates: list[tuple[str, str]] = []
    house.service.listen(
        lambda endpoint_id, kinds: changes.append(endpoint_id),
        lambda endpoint_id, uri: updates.append((endpoint_id, uri)),
    )
    house.client.offer(EndpointId("id-calc"), OFFERS)
    house.directory.put_group(group("g", "time"))
    target = await house.service.watch(house.service.view_all(OWNER), "calc+demo://a")
    house.client.change_resource(EndpointId("id-calc"), "demo://a")
    await house.service.unwatch(target)
    house.client.change_resource(EndpointId("id-calc"), "demo://a")
    assert changes == ["id-calc", "id-time"]
    assert updates == [("id-calc", "demo://a")]


async def test_watching_what_the_view_does_not_show_is_refused(house: House) -> None:
    with pytest.raises(NotFoundError):
        await house.service.watch(house.service.view_all(OWNER), "nobody+demo://a")


async def with_second(house: House) -> Endpoint:
    calc = endpoint("calc")
    second = replace(calc, id=EndpointId("second"))
    instance = replace(own(calc), id=InstanceId(second.id))
    house.directory.put_instances(calc.id, (instance,))
    await house.client.connect(second)
    return second


async def test_a_further_instance_changes_no_list(house: House) -> None:
    second = await with_second(house)
    told: list[EndpointId] = []
    house.service.listen(lambda endpoint_id, _: told.append(endpoint_id), lambda *_: None)
    before = house.service.offer(house.service.view_all(OWNER), Era.MODERN)
    house.client.offer(second.id, catalog(tools=["other"]))
    assert house.service.offer(house.service.view_all(OWNER), Era.MODERN) is before
    assert told == []


async def test_a_further_instance_speaks_for_a_server_that_was_never_reached(house: House) -> None:
    view = house.service.view_server(OWNER, "calc")
    house.client.offer(EndpointId("id-calc"), EMPTY)
    assert house.keys(view) == []
    second = await with_second(house)
    told: list[EndpointId] = []
    house.service.listen(lambda endpoint_id, _: told.append(endpoint_id), lambda *_: None)
    house.client.offer(second.id, catalog(tools=["spare"]))
    assert house.keys(view) == ["spare"]
    assert told == ["id-calc"]
    target = house.service.find(view, Era.MODERN, ItemKind.TOOLS, "spare")
    assert target is not None
    assert (target.endpoint_id, target.server) == ("id-calc", "calc")


async def test_a_server_on_trial_changes_no_list(house: House) -> None:
    told: list[EndpointId] = []
    house.service.listen(lambda endpoint_id, _: told.append(endpoint_id), lambda *_: None)
    trial = endpoint("trial")
    await house.client.connect(trial)
    house.client.offer(trial.id, OFFERS)
    assert told == []
