"""Requests of modern agents (2026-07-28), as they come in."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from agenthub.adapters.inbound.mcp.callers import LEVELS, name_of
from agenthub.adapters.inbound.mcp.collecting import Asker
from agenthub.adapters.inbound.mcp.envelope import Request
from agenthub.adapters.inbound.mcp.streams import Exchange
from agenthub.adapters.inbound.mcp.versions import MODERN
from agenthub.adapters.inbound.mcp.withdrawal import Withdrawal
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.services.catalog.views import View

CHOKES_ON_ROUNDS = frozenset({"google-adk"})
"""Agents that declare what they can be asked, and fail on every `input_required` (2.13.0)."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One modern request: what it says, where it came in, and where its answer goes."""

    view: View
    headers: Iterable[tuple[bytes, bytes]]
    message: Request
    exchange: Exchange
    withdrawal: Withdrawal = field(default_factory=Withdrawal)
    version: str = MODERN

    @property
    def agent(self) -> str:
        return name_of(self.message.meta.client_info)

    @property
    def asker(self) -> Asker:
        return Asker(self.view, self.era, self.version)

    @property
    def era(self) -> Era:
        """The era of the server's side that fits this agent."""
        return Era.MODERN if self.takes_rounds else Era.LEGACY

    @property
    def takes_rounds(self) -> bool:
        """Say whether the agent can be answered with `input_required` at all."""
        return self.agent not in CHOKES_ON_ROUNDS

    @property
    def capabilities(self) -> dict[str, Any]:
        """Give what it declared and what can be believed of it."""
        declared: dict[str, Any] = self.message.meta.capabilities
        if self.takes_rounds:
            return declared
        return {name: declared[name] for name in ("extensions",) if name in declared}

    @property
    def log_level(self) -> str | None:
        level = self.message.meta.log_level
        return level if level in LEVELS else None
