"""The comparison of `wiring.py` finds planted faults and accepts what is right."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pytest
from dependency_injector import containers, providers

from tests.architecture.wiring import faults


class Bus(ABC):
    @abstractmethod
    def send(self) -> None: ...


class MemoryBus(Bus):
    def send(self) -> None: ...


class OtherBus(Bus):
    def send(self) -> None: ...


class Sender(Protocol):
    def send(self) -> None: ...


class Engine:
    def now(self) -> float:
        return 0.0


@dataclass(frozen=True)
class Log:
    format: str
    lines: int


@dataclass(frozen=True)
class Settings:
    log: Log
    bus: str

    @property
    def wait_s(self) -> float | None:
        return None


class Service:
    def __init__(
        self,
        *,
        bus: Bus,
        senders: Sequence[Bus],
        log_format: str,
        wait_s: float | None,
        sender: Sender,
        make: Callable[[], Bus],
        name: str = "",
    ) -> None: ...


class Outbound(containers.DeclarativeContainer):
    settings = providers.Dependency(instance_of=Settings)
    engine = providers.Singleton(Engine)
    memory = providers.Singleton(MemoryBus)
    bus = providers.Selector(settings.provided.bus, a=memory, b=providers.Singleton(OtherBus))


SETTINGS = providers.Singleton(Settings, log=providers.Singleton(Log, format="x", lines=1), bus="a")
OUTBOUND = providers.Container(Outbound, settings=SETTINGS)
RIGHT = {
    "bus": OUTBOUND.container.bus,
    "senders": providers.List(OUTBOUND.container.memory),
    "log_format": OUTBOUND.container.settings.provided.log.format,
    "wait_s": SETTINGS.provided.wait_s,
    "sender": OUTBOUND.container.memory,
    "make": OUTBOUND.container.memory.provider,
}


def found(**changes: object) -> list[str]:
    keywords = {**RIGHT, **changes}
    given = {name: value for name, value in keywords.items() if value is not None}
    container = containers.DynamicContainer()
    container.service = providers.Singleton(Service, **given)
    return faults(container)


def test_a_container_that_fits_has_no_fault() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"buss": 1}, "has no parameter buss"),
        ({"bus": None}, "is not given bus"),
        ({"bus": OUTBOUND.container.engine}, "bus wants"),
        ({"bus": providers.Selector(lambda: "a", a=RIGHT["bus"], b=providers.Object(1))}, "bus"),
        ({"log_format": SETTINGS.provided.log.lines}, "log_format wants"),
        ({"log_format": SETTINGS.provided.log.colour}, "Log has no attribute colour"),
        ({"wait_s": SETTINGS.provided.bus}, "wait_s wants"),
        ({"sender": OUTBOUND.container.engine}, "sender wants"),
        ({"senders": OUTBOUND.container.memory}, "senders wants"),
        ({"bus": providers.Resource(MemoryBus)}, "cannot tell the product of a Resource"),
        ({"log_format": OUTBOUND.container.engine.provided.now.call()}, "log_format wants"),
    ],
)
def test_a_planted_fault_is_found(changes: dict[str, object], fault: str) -> None:
    assert any(fault in text for text in found(**changes))
