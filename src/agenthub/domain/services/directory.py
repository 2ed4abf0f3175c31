"""The directory: servers and groups in memory, so that no call waits for the database."""

from collections.abc import Callable
from dataclasses import replace

from agenthub.domain.entities.endpoints import Endpoint
from agenthub.domain.entities.groups import Group
from agenthub.domain.entities.instances import Instance, own_instance
from agenthub.domain.ids import EndpointId, GroupId, InstanceId, WorkspaceId


class Directory:
    """A mirror of what is stored, kept by the services of each feature after each commit.

    `revision` grows with every change, so whoever derives something knows when it is stale.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._endpoints: dict[EndpointId, Endpoint] = {}
        self._by_name: dict[tuple[WorkspaceId, str], Endpoint] = {}
        self._instances: dict[EndpointId, tuple[Instance, ...]] = {}
        self._instance: dict[InstanceId, Instance] = {}
        self._groups: dict[GroupId, Group] = {}
        self._by_slug: dict[tuple[WorkspaceId, str], Group] = {}
        self._listeners: list[Callable[[frozenset[EndpointId]], None]] = []

    def listen(self, listener: Callable[[frozenset[EndpointId]], None]) -> None:
        """Call `listener` with the endpoints concerned, after every change. It must not block."""
        self._listeners.append(listener)

    def endpoint(self, endpoint_id: EndpointId) -> Endpoint | None:
        return self._endpoints.get(endpoint_id)

    def endpoint_named(self, workspace: WorkspaceId, name: str) -> Endpoint | None:
        return self._by_name.get((workspace, name))

    def endpoints(self, workspace: WorkspaceId) -> list[Endpoint]:
        """List the workspace's endpoints by name."""
        mine = (e for e in self._endpoints.values() if e.workspace == workspace)
        return sorted(mine, key=lambda endpoint: endpoint.name)

    def instances(self, endpoint_id: EndpointId) -> tuple[Instance, ...]:
        """List an endpoint's instances, its own address first; none for an unknown endpoint."""
        return self._instances.get(endpoint_id, ())

    def instance(self, instance_id: InstanceId) -> Instance | None:
        return self._instance.get(instance_id)

    def group(self, group_id: GroupId) -> Group | None:
        return self._groups.get(group_id)

    def group_at(self, workspace: WorkspaceId, slug: str) -> Group | None:
        return self._by_slug.get((workspace, slug))

    def put_endpoint(self, endpoint: Endpoint) -> None:
        self._drop_endpoint(endpoint.id)
        self._endpoints[endpoint.id] = endpoint
        self._by_name[endpoint.workspace, endpoint.name] = endpoint
        if endpoint.id not in self._instances:
            self._put_instances(endpoint.id, (_own(endpoint),))
        self._changed(frozenset({endpoint.id}))

    def drop_endpoint(self, endpoint_id: EndpointId) -> None:
        self._drop_endpoint(endpoint_id)
        self._put_instances(endpoint_id, ())
        for group in list(self._groups.values()):
            if group.member(endpoint_id) is not None:
                left = tuple(m for m in group.members if m.endpoint_id != endpoint_id)
                self.put_group(replace(group, members=left))
        self._changed(frozenset({endpoint_id}))

    def put_instances(self, endpoint_id: EndpointId, instances: tuple[Instance, ...]) -> None:
        """Replace a known endpoint's instances. Its own address is there, given or not."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None:
            return
        own = next((i for i in instances if i.is_own), _own(endpoint))
        further = (i for i in instances if not i.is_own)
        wanted = (own, *sorted(further, key=lambda i: i.id))
        if wanted != self.instances(endpoint_id):
            self._put_instances(endpoint_id, wanted)
            self._changed(frozenset({endpoint_id}))

    def put_group(self, group: Group) -> None:
        before = self._drop_group(group.id)
        self._groups[group.id] = group
        self._by_slug[group.workspace, group.slug] = group
        self._changed(before | _members_of(group))

    def drop_group(self, group_id: GroupId) -> None:
        self._changed(self._drop_group(group_id))

    def _drop_endpoint(self, endpoint_id: EndpointId) -> None:
        former = self._endpoints.pop(endpoint_id, None)
        if former is not None:
            self._by_name.pop((former.workspace, former.name), None)

    def _put_instances(self, endpoint_id: EndpointId, instances: tuple[Instance, ...]) -> None:
        for former in self._instances.pop(endpoint_id, ()):
            del self._instance[former.id]
        if instances:
            self._instances[endpoint_id] = instances
            self._instance.update((instance.id, instance) for instance in instances)

    def _drop_group(self, group_id: GroupId) -> frozenset[EndpointId]:
        former = self._groups.pop(group_id, None)
        if former is None:
            return frozenset()
        self._by_slug.pop((former.workspace, former.slug), None)
        return _members_of(former)

    def _changed(self, endpoint_ids: frozenset[EndpointId]) -> None:
        self.revision += 1
        for listener in self._listeners:
            listener(endpoint_ids)


def _own(endpoint: Endpoint) -> Instance:
    return own_instance(endpoint.id, endpoint.workspace, endpoint.created_at)


def _members_of(group: Group) -> frozenset[EndpointId]:
    return frozenset(member.endpoint_id for member in group.members)
