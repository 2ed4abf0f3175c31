"""The composition root gives every constructor what it wants, by name and by type."""

from dependency_injector import providers

from agenthub.config.container import AgentHubContainer
from tests.architecture.wiring import faults


def test_every_provider_fits_the_constructor_it_calls() -> None:
    assert faults(AgentHubContainer()) == []


def test_no_provider_starts_work_or_hides_a_choice() -> None:
    forbidden = (providers.Resource, providers.Coroutine)
    found = list(AgentHubContainer().traverse())
    assert [provider for provider in found if isinstance(provider, forbidden)] == []
    lambdas = [
        provider
        for provider in found
        if getattr(getattr(provider, "provides", None), "__name__", "") == "<lambda>"
    ]
    assert lambdas == []
