"""Calls of modern agents: answered, or with questions, or with a request to wait.

What the agent needs to go on travels with it, sealed: the ticket of a parked call (`nonce`), of
one that a person has (`held`), or a modern server's own state.
"""

from dataclasses import replace
from itertools import count
from typing import Any, TypeVar

import msgspec

from agenthub.adapters.inbound.hub import Hub
from agenthub.adapters.inbound.mcp.asking import can_be_asked, require_answerable
from agenthub.adapters.inbound.mcp.callers import (
    Accent,
    AgentCaller,
    AgentFacts,
    ModernCaller,
    RoundlessCaller,
)
from agenthub.adapters.inbound.mcp.collecting import HUB, Collecting
from agenthub.adapters.inbound.mcp.envelope import INVALID_PARAMS, Request
from agenthub.adapters.inbound.mcp.errands import MAY_ASK, errand_of
from agenthub.adapters.inbound.mcp.frames import text
from agenthub.adapters.inbound.mcp.mapping import input_required_result, map_result
from agenthub.adapters.inbound.mcp.parking import Booking, Bundle, ParkedCaller, Parking
from agenthub.adapters.inbound.mcp.sealing import Binding, Sealer, bind
from agenthub.adapters.inbound.mcp.shapes import is_object
from agenthub.adapters.inbound.mcp.visits import Visit
from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.exceptions import NotFoundError, RpcError
from agenthub.domain.ports.outbound.mcp_client import InputRequired
from agenthub.domain.services.calls import SCOPE_OF, Deed, Errand, Outcome, without_round
from agenthub.domain.services.held import Waiting
from agenthub.domain.services.hitl.links import is_links

TICKET_NOT_FOUND = "ticket_not_found"
CallerT = TypeVar("CallerT", bound=AgentCaller)
_slice_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class ModernCalls:
    """Carries tools/call and its kin for modern agents. Keeps nothing but parked calls."""

    def __init__(
        self, *, hub: Hub, sealer: Sealer, parking: Parking, collecting: Collecting
    ) -> None:
        self._hub = hub
        self._sealer = sealer
        self._parking = parking
        self._collecting = collecting
        self._numbers = count(1)

    async def carry(self, deed: Deed, visit: Visit, target: Target | None) -> bytes:
        errand = errand_of(deed, visit.message)
        if self._collecting.is_meant(visit.view, visit.era, errand):
            caller = self._plain_caller(HUB, visit)
            return await self._collecting.collect(visit.asker, visit.message, caller)
        if deed in MAY_ASK and visit.message.values.get("requestState") is not None:
            return await self._carry_on(errand, visit, target)
        if target is None:
            target = self._hub.calls.target_of(visit.view, errand, visit.era)
        if deed not in MAY_ASK:
            caller = self._plain_caller(target.server, visit)
            carry, errand = self._hub.calls.carry, without_round(errand)
            return self._finished(await carry(visit.view, errand, caller, target), errand, visit)
        if not self._knows_rounds(target):
            errand = without_round(errand)
        return await self._carry_out(errand, visit, target)

    def _knows_rounds(self, target: Target) -> bool:
        eras = self._hub.catalog.eras_of(target.endpoint_id)
        return not eras or Era.MODERN in eras

    async def _carry_out(self, errand: Errand, visit: Visit, target: Target) -> bytes:
        """Do it, and where the agent may be asked in mid-call, so that this can be parked."""
        outcome: Outcome | Waiting | Bundle
        binding = _binding(errand, visit)
        is_asked_within = self._hub.held.is_on or not self._knows_rounds(target)
        if is_asked_within and can_be_asked(visit.capabilities):
            outcome = await self._parkable(errand, visit, target, binding)
        else:
            caller = self._plain_caller(target.server, visit)
            outcome = await self._hub.held.carry(visit.view, errand, caller, target)
        return self._answered(outcome, errand, visit, binding)

    async def _parkable(
        self, errand: Errand, visit: Visit, target: Target, binding: Binding
    ) -> Outcome | Waiting | Bundle:
        """Run the call where it can wait for the agent's next request."""
        caller, view = self._caller(ParkedCaller, target.server, visit), visit.view
        size_bytes = sum(map(len, errand.params.values()))
        return await self._parking.start(
            Booking(view.principal, binding, size_bytes),
            caller,
            visit.exchange,
            lambda: self._hub.held.carry(view, errand, caller, target),
        )

    def _plain_caller(self, server: str, visit: Visit) -> ModernCaller:
        kind = ModernCaller if visit.takes_rounds else RoundlessCaller
        return self._caller(kind, server, visit)

    def _caller(self, kind: type[CallerT], server: str, visit: Visit) -> CallerT:
        facts = AgentFacts(
            client=f"request-{next(self._numbers)}",
            capabilities=visit.capabilities,
            log_level=visit.log_level,
            agent=visit.agent,
        )
        accent = Accent(server, visit.view.namespaced, visit.version)
        return kind(visit.exchange, accent, facts, visit.message.meta.progress_token)

    async def _carry_on(self, errand: Errand, visit: Visit, target: Target | None) -> bytes:
        """Go on with a call that was answered with questions, or with a request to wait."""
        visit.view.principal.require(SCOPE_OF[errand.deed])
        binding = _binding(errand, visit)
        payload = self._sealer.open(visit.message.values.get("requestState"), binding)
        match payload:
            case {"held": str(ticket)}:
                outcome = await self._resumed(ticket, visit)
                return self._answered(outcome, errand, visit, binding)
            case {"nonce": str(nonce)}:
                outcome = await self._parking.resume(
                    nonce,
                    binding,
                    visit.exchange,
                    _responses(visit.message),
                    visit.message.meta.progress_token,
                )
                return self._answered(outcome, errand, visit, binding)
            case _:
                return await self._carry_back(payload, errand, visit, target)

    async def _resumed(self, ticket: str, visit: Visit) -> Outcome | Waiting:
        """Wait on for a person. Raises RpcError where the call is no more."""
        caller = self._plain_caller(HUB, visit)
        try:
            return await self._hub.held.resume(visit.view.principal, ticket, caller)
        except NotFoundError as error:
            if error.code != TICKET_NOT_FOUND:
                raise
            raise RpcError(
                INVALID_PARAMS,
                "What this requestState stands for is over. Send the request again without it.",
            ) from error

    async def _carry_back(
        self, payload: dict[str, Any], errand: Errand, visit: Visit, target: Target | None
    ) -> bytes:
        """Take the agent's answers to the server that asked."""
        if target is None:
            target = self._hub.calls.target_of(visit.view, errand, visit.era)
        if payload.get("endpoint") != target.endpoint_id:
            raise RpcError(INVALID_PARAMS, "This requestState belongs to another server.")
        params = {name: raw for name, raw in errand.params.items() if name != "requestState"}
        if payload["state"] is not None:
            params["requestState"] = text(payload["state"])
        return await self._carry_out(replace(errand, params=params), visit, target)

    def _answered(
        self, outcome: Outcome | Waiting | Bundle, errand: Errand, visit: Visit, binding: Binding
    ) -> bytes:
        match outcome:
            case Outcome():
                return self._finished(outcome, errand, visit)
            case Bundle():
                state = self._sealer.seal({"nonce": outcome.nonce}, binding)
                return input_required_result(outcome.questions, state)
            case Waiting() if visit.takes_rounds:
                after = outcome.expires_at
                state = self._sealer.seal({"held": outcome.ticket}, binding, after=after)
                return input_required_result({}, state)
            case Waiting():
                return self._collecting.told(outcome, errand, visit.asker)

    def _finished(self, outcome: Outcome, errand: Errand, visit: Visit) -> bytes:
        needed = outcome.answer.input_required
        if needed is not None:
            return self._relayed(needed, outcome.target, errand, visit)
        return map_result(
            errand.deed,
            outcome.answer.result,
            server=outcome.target.server,
            namespaced=visit.view.namespaced,
            version=visit.version,
            may_keep=not outcome.answer.has_input,
        )

    def _relayed(
        self, needed: InputRequired, target: Target, errand: Errand, visit: Visit
    ) -> bytes:
        """Hand on a server's questions; its state travels sealed in the hub's own.

        Answers to links that a legacy server wants opened are told by that from stray ones.
        """
        caller = self._plain_caller(target.server, visit)
        others = [one for one in needed.requests.values() if not caller.can_answer(one)]
        require_answerable(visit.capabilities, *others)
        state = None
        if needed.state is not None or is_links(needed):
            payload = {"endpoint": target.endpoint_id, "state": needed.state}
            state = self._sealer.seal(payload, _binding(errand, visit))
        accent = Accent(target.server, visit.view.namespaced, visit.version)
        asked = {key: accent.question(one) for key, one in needed.requests.items()}
        return input_required_result(asked, state)


def _binding(errand: Errand, visit: Visit) -> Binding:
    return bind(visit.view, errand.deed.value, errand.key, errand.params)


def _responses(message: Request) -> dict[str, bytes]:
    raw = message.params.get("inputResponses", b"{}")
    values = message.values.get("inputResponses", {})
    if not is_object(values):
        raise RpcError(INVALID_PARAMS, "params.inputResponses must be an object.")
    return {key: bytes(value) for key, value in _slice_object(raw).items()}
