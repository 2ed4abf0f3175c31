from dataclasses import replace

from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, GroupId, InstanceId, WorkspaceId
from agenthub.domain.services.directory import Directory
from tests.unit.domain.services.samples import endpoint, group, own

OTHER = WorkspaceId("other")


def test_an_endpoint_is_found_by_id_and_by_name_in_its_workspace() -> None:
    directory = Directory()
    time = endpoint("time")
    directory.put_endpoint(time)
    assert directory.endpoint(time.id) is time
    assert directory.endpoint_named(DEFAULT_WORKSPACE, "time") is time
    assert directory.endpoint_named(OTHER, "time") is None
    assert directory.endpoints(OTHER) == []


def test_a_renamed_endpoint_leaves_its_old_name() -> None:
    directory = Directory()
    directory.put_endpoint(endpoint("old", id="e1"))
    directory.put_endpoint(endpoint("new", id="e1"))
    assert directory.endpoint_named(DEFAULT_WORKSPACE, "old") is None
    assert [one.name for one in directory.endpoints(DEFAULT_WORKSPACE)] == ["new"]


def test_a_removed_endpoint_leaves_its_groups() -> None:
    directory = Directory()
    for name in ("a", "b"):
        directory.put_endpoint(endpoint(name))
    directory.put_group(group("g", "a", "b"))
    directory.drop_endpoint(EndpointId("id-a"))
    left = directory.group_at(DEFAULT_WORKSPACE, "g")
    assert left is not None
    assert [member.endpoint_id for member in left.members] == ["id-b"]


def test_a_removed_group_is_gone_by_id_and_slug() -> None:
    directory = Directory()
    directory.put_group(group("g"))
    directory.drop_group(GroupId("id-g"))
    directory.drop_group(GroupId("id-g"))
    assert directory.group(GroupId("id-g")) is None
    assert directory.group_at(DEFAULT_WORKSPACE, "g") is None


def test_every_change_names_the_endpoints_before_and_after_it() -> None:
    directory = Directory()
    heard: list[frozenset[EndpointId]] = []
    directory.listen(heard.append)
    directory.put_endpoint(endpoint("a"))
    directory.put_group(group("g", "a"))
    directory.put_group(group("g", "b"))
    directory.drop_group(GroupId("id-g"))
    assert heard == [{"id-a"}, {"id-a"}, {"id-a", "id-b"}, {"id-b"}]
    assert directory.revision == 4


def test_a_known_endpoint_always_has_its_own_address_first() -> None:
    directory, time = Directory(), endpoint("time")
    directory.put_endpoint(time)
    assert directory.instances(time.id) == (own(time),)
    further = [replace(own(time), id=_instance_id(name)) for name in ("b", "a")]
    directory.put_instances(time.id, tuple(further))
    assert [one.id for one in directory.instances(time.id)] == ["id-time", "a", "b"]
    assert directory.instance(_instance_id("b")) == further[0]
    directory.put_endpoint(replace(time, name="clock"))
    assert [one.id for one in directory.instances(time.id)] == ["id-time", "a", "b"]
    directory.put_instances(time.id, (replace(own(time), weight=5),))
    assert [(one.id, one.weight) for one in directory.instances(time.id)] == [("id-time", 5)]
    assert directory.instance(_instance_id("b")) is None


def test_an_unknown_endpoint_has_no_instances() -> None:
    directory, time = Directory(), endpoint("time")
    directory.put_instances(time.id, (own(time),))
    assert directory.instances(time.id) == ()
    directory.put_endpoint(time)
    directory.drop_endpoint(time.id)
    assert directory.instances(time.id) == ()
    assert directory.instance(_instance_id("id-time")) is None


def test_listeners_hear_of_other_instances_once() -> None:
    directory, time = Directory(), endpoint("time")
    directory.put_endpoint(time)
    told: list[frozenset[EndpointId]] = []
    directory.listen(told.append)
    before = directory.revision
    for _ in range(2):
        directory.put_instances(time.id, (replace(own(time), weight=9),))
    assert (told, directory.revision) == ([{time.id}], before + 1)


def _instance_id(text: str) -> InstanceId:
    return InstanceId(EndpointId(text))
