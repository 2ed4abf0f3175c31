import pytest

from agenthub.domain.entities.instances import Instance
from agenthub.domain.exceptions import InvalidError
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, InstanceId
from tests.unit.domain.services.samples import AT, endpoint, own


def instance(*, weight: int = 1, priority: int = 0) -> Instance:
    return Instance(
        id=InstanceId(EndpointId("i")),
        workspace=DEFAULT_WORKSPACE,
        endpoint_id=EndpointId("e"),
        created_at=AT,
        weight=weight,
        priority=priority,
    )


@pytest.mark.parametrize(
    ("field", "value"), [("weight", 0), ("weight", 1001), ("priority", -1), ("priority", 101)]
)
def test_a_number_out_of_range_is_refused_and_named(field: str, value: int) -> None:
    with pytest.raises(InvalidError) as refused:
        instance(**{"weight": 1, "priority": 0, field: value})
    assert refused.value.code == "invalid_instance"
    assert [fault.loc for fault in refused.value.faults] == [(field,)]


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(InvalidError) as refused:
        instance(weight=0, priority=-1)
    assert [fault.loc for fault in refused.value.faults] == [("weight",), ("priority",)]


def test_the_limits_themselves_are_allowed() -> None:
    assert instance(weight=1000, priority=100).weight == 1000
    assert instance(weight=1, priority=0).priority == 0


def test_the_own_address_bears_the_id_of_its_server() -> None:
    address = own(endpoint("time"))
    assert (address.id, address.endpoint_id, address.is_own) == ("id-time", "id-time", True)
    assert not instance().is_own
