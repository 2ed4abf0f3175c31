"""The main street: one request from an agent to a server and back, whatever the entrance."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count
from typing import Any

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.cost import Purpose
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.hitl.request import HitlRequest
from agenthub.domain.entities.identity import Scope
from agenthub.domain.entities.resilience.policy import FallbackPolicy
from agenthub.domain.exceptions import HubError, NotFoundError, RpcError, UpstreamError
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.mcp_client import Answer, Caller, RawObject
from agenthub.domain.services.catalog.views import CatalogService, View
from agenthub.domain.services.hitl.asking import AskingCaller
from agenthub.domain.services.hitl.callers import answered_by
from agenthub.domain.services.hitl.clearing import Clearing
from agenthub.domain.services.hitl.links import links_of, without_links
from agenthub.domain.services.hitl.recall import has_forgotten, recalled
from agenthub.domain.services.hitl.threads import CallThread
from agenthub.domain.services.policies import PolicyService
from agenthub.domain.services.resilience.accounts import (
    CallAccounts,
    Charge,
    ending_of_answer,
    ending_of_error,
    is_good,
)
from agenthub.domain.services.resilience.fallbacks import LastAnswers, calls_for_fallback, marked
from agenthub.domain.services.resilience.gateway import Gateway
from agenthub.domain.services.resilience.passage import Passage
from agenthub.domain.services.resilience.tracing import CallTracing

MAX_ROUNDS = 10
"""Rounds of questions in one call to a modern server; the SDKs stop there too."""


class Deed(StrEnum):
    """The requests that go through to a server. Values are MCP methods."""

    CALL_TOOL = "tools/call"
    GET_PROMPT = "prompts/get"
    READ_RESOURCE = "resources/read"
    COMPLETE = "completion/complete"


SCOPE_OF = {
    Deed.CALL_TOOL: Scope.TOOLS_CALL,
    Deed.GET_PROMPT: Scope.PROMPTS_GET,
    Deed.READ_RESOURCE: Scope.RESOURCES_READ,
    Deed.COMPLETE: Scope.PROMPTS_GET,
}
PURPOSE_OF = {deed: Purpose(deed.value) for deed in Deed}


@dataclass(frozen=True, slots=True)
class Errand:
    """What an agent wants done. `key` is the exposed tool or prompt name, or the exposed URI.

    `params` are the request's own, without `_meta`; `params["name"]`, `["uri"]` or `["ref"]`
    are replaced by the server's. For COMPLETE, `ref` says what `key` names.
    """

    deed: Deed
    key: str
    params: RawObject
    meta: RawObject = field(default_factory=RawObject)
    ref: ItemKind | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A server's answer, and which server gave it."""

    answer: Answer
    target: Target


@dataclass(frozen=True, slots=True)
class Trip:
    """Who carries an errand: what it may see, whom it can ask, and its dealings with people."""

    view: View
    caller: Caller
    thread: CallThread | None


class CallService:
    """Carries errands. A refusal raises; a server's own error is an RpcError, unchanged."""

    def __init__(
        self,
        *,
        accounts: CallAccounts,
        catalog: CatalogService,
        clearing: Clearing,
        clock: Clock,
        gateway: Gateway,
        policies: PolicyService,
        tracing: CallTracing,
    ) -> None:
        self._accounts = accounts
        self._catalog = catalog
        self._clearing = clearing
        self._clock = clock
        self._gateway = gateway
        self._last = LastAnswers()
        self._policies = policies
        self._tracing = tracing

    def target_of(self, view: View, errand: Errand, era: Era) -> Target:
        """Check the scope and find where the errand leads. Raises DeniedError, NotFoundError.

        UnavailableError where the name may be one of a server that is not there now.
        """
        view.principal.require(SCOPE_OF[errand.deed])
        match errand.deed:
            case Deed.CALL_TOOL:
                target = self._catalog.find(view, era, ItemKind.TOOLS, errand.key)
            case Deed.GET_PROMPT:
                target = self._catalog.find(view, era, ItemKind.PROMPTS, errand.key)
            case Deed.COMPLETE if errand.ref is ItemKind.PROMPTS:
                target = self._catalog.find(view, era, ItemKind.PROMPTS, errand.key)
            case _:
                target = self._catalog.find_uri(view, errand.key)
        if target is None:
            raise self._catalog.absent(view, errand.key) or _unknown(errand)
        return target

    async def carry(
        self,
        view: View,
        errand: Errand,
        caller: Caller,
        target: Target | None = None,
        thread: CallThread | None = None,
    ) -> Outcome:
        """Do the errand and wait for its result.

        `target` is what `target_of` gave for it, if that was asked already. A modern caller may
        get an answer with `input_required`; for a legacy caller the questions of a modern server
        are asked here, round by round. With a `thread`, people answer where the policy says so or
        the agent cannot. Where the tool names a fallback and its server fails, the answer is that
        of the fallback, and says so.
        """
        if target is None:
            target = self.target_of(view, errand, caller.era)
        trip = Trip(view, caller, thread)
        if not self._tracing.is_on:
            return await self._carried(trip, errand, target)
        tool = target.key if errand.deed is Deed.CALL_TOOL else None
        with self._tracing.serving(errand.deed.value, tool, errand.meta) as step:
            outcome = await self._carried(trip, errand, target)
            step.answered(outcome.answer)
            return outcome

    async def _carried(self, trip: Trip, errand: Errand, target: Target) -> Outcome:
        """Have the errand done by its target, or by what stands in for it."""
        fallback: FallbackPolicy | None = None
        if errand.deed is Deed.CALL_TOOL:  # a tool answers no other request
            fallback = self._policies.of(target.endpoint_id, target.key).fallback
        if fallback is None:
            return await self._through(trip, errand, target)
        try:
            outcome = await self._through(trip, errand, target)
        except HubError as error:
            if not calls_for_fallback(error):
                raise
            errand = _as_changed(errand, trip.thread)
            instead = await self._instead(trip, errand, (target, fallback, error))
            if instead is None:
                raise
            return instead
        if fallback.cached_for_s is not None and is_good(outcome.answer):
            subject, now = trip.view.principal.subject, self._clock.monotonic()
            params = _as_changed(errand, trip.thread).params
            self._last.keep(subject, target, params, outcome.answer, now)
        return outcome

    async def _through(self, trip: Trip, errand: Errand, target: Target) -> Outcome:
        """Pass the people, then the guards."""
        thread = trip.thread
        if errand.deed is Deed.CALL_TOOL:
            principal, caller = trip.view.principal, trip.caller
            cleared = await self._clearing.clear(principal, caller, target, errand.params, thread)
            errand = errand if cleared is errand.params else replace(errand, params=cleared)
        try:
            outcome = await self._charged(trip, errand, target)
        except Exception as error:
            if thread is not None:
                await thread.called(error)
            raise
        if thread is not None:
            await thread.called(None)
        return outcome

    async def _charged(self, trip: Trip, errand: Errand, target: Target) -> Outcome:
        """Pass the guards, and account for it whatever happens."""
        principal, caller, thread = trip.view.principal, trip.caller, trip.thread
        tool = target.key if errand.deed is Deed.CALL_TOOL else None
        size = sum(map(len, errand.params.values()))
        charge = Charge(principal, PURPOSE_OF[errand.deed], target, tool, size)
        try:
            passage = self._gateway.enter(principal.subject, target, tool, caller)
        except HubError as error:
            self._accounts.refuse(charge, error)
            raise
        # What is gone on with after a restart had its price set aside before.
        is_paid = thread is not None and thread.continues(target)
        account = await self._accounts.open(
            charge, None if is_paid else passage.policy.price_nano_usd
        )
        try:
            if thread is not None:
                caller = AskingCaller.beside(thread, caller, target, tool)
            answer = await self._rounds(passage, errand, caller, thread)
        except BaseException as error:
            ending = ending_of_error(error, is_sent=passage.is_sent, is_unsure=passage.is_unsure)
            await self._accounts.close(account, ending, passage.instance or "")
            raise
        await self._accounts.close(account, ending_of_answer(answer), passage.instance or "")
        return Outcome(answer, target)

    async def _rounds(
        self, passage: Passage, errand: Errand, caller: Caller, thread: CallThread | None
    ) -> Answer:
        """Send; where the questions in an answer are not the agent's, have them answered here."""
        params, method = _own_params(errand, passage.target), errand.deed.value
        if thread is not None and thread.continues(passage.target):
            params = {**_fresh_params(errand, passage.target), **await thread.given()}
        for questions in count():
            sent = without_links(params)
            try:
                answer = await self._sent(passage, method, sent, errand.meta, caller)
            except RpcError as error:
                if questions or thread is None or not (thread.answered and has_forgotten(error)):
                    raise
                answer = await self._anew(passage, errand, caller, thread.answered)
            needed = answer.input_required
            if needed is None:
                has_asked = questions or (thread is not None and thread.answered)
                return replace(answer, has_input=True) if has_asked else answer
            is_asking = isinstance(caller, AskingCaller)
            if caller.relays(needed) if is_asking else caller.era is Era.MODERN:
                return answer
            if questions == MAX_ROUNDS:
                break
            with passage.waiting(self._clock):
                asked = caller.answer(needed) if is_asking else answered_by(caller, needed)
                params = {**_fresh_params(errand, passage.target), **await asked}
        raise UpstreamError(
            f"The server {passage.target.server!r} asked for more input {MAX_ROUNDS} times in one"
            " call.",
            code="too_many_rounds",
        )

    async def _anew(
        self, passage: Passage, errand: Errand, caller: Caller, answered: Sequence[HitlRequest]
    ) -> Answer:
        """Have a server that forgot its round ask again, and give what people answered then."""
        params, method = _fresh_params(errand, passage.target), errand.deed.value
        answer = await self._sent(passage, method, params, errand.meta, caller)
        needed = answer.input_required
        again = None if needed is None else recalled(answered, needed)
        if again is None:
            return answer
        return await self._sent(passage, method, {**params, **again}, errand.meta, caller)

    async def _sent(
        self, passage: Passage, method: str, params: RawObject, meta: RawObject, caller: Caller
    ) -> Answer:
        """Send one request; an error that names links to open first becomes a round of them."""
        try:
            return await self._gateway.send(passage, method, params, meta, caller)
        except RpcError as error:
            needed = links_of(error, passage.target.server)
            if needed is None:
                raise
            if isinstance(caller, AskingCaller):
                is_agents = caller.takes_links(needed)
            else:
                can_all = all(caller.can_answer(one) for one in needed.requests.values())
                is_agents = caller.era is Era.LEGACY or not can_all
            if is_agents:
                raise
            return Answer(b"{}", Era.LEGACY, needed)

    async def _instead(
        self,
        trip: Trip,
        errand: Errand,
        failed: tuple[Target, FallbackPolicy, HubError],
    ) -> Outcome | None:
        """Give the fallback's answer, None where there is none, or it fails as well.

        One that asks is none: the agent's next round goes to the first server again.
        """
        target, fallback, error = failed
        facts: dict[str, Any] = {
            "instead_of": {"server": target.server, "tool": target.key},
            "reason": error.code,
        }
        if fallback.tool is None:
            max_age_s, now = fallback.cached_for_s or 0.0, self._clock.monotonic()
            subject = trip.view.principal.subject
            found = self._last.find(subject, target, errand.params, max_age_s, now)
            if found is None:
                return None
            answer, age_s = found
            facts |= {"source": "cache", "age_s": round(age_s, 1)}
            words = f"This is an earlier answer, {age_s:.0f} s old: {error.message}"
            return Outcome(marked(answer, facts, words), target)
        try:
            other = self._stand_in(
                trip.view, trip.caller.era, fallback.server or target.server, fallback.tool
            )
            if other is None:
                return None
            if trip.thread is not None:
                await trip.thread.give_way()
            outcome = await self._through(trip, without_round(errand), other)
        except (HubError, RpcError):
            return None
        if outcome.answer.input_required is not None:
            return None
        facts |= {"source": "tool", "server": other.server, "tool": other.key}
        words = f"This is the answer of {other.server}/{other.key} instead: {error.message}"
        return Outcome(marked(outcome.answer, facts, words), other)

    def _stand_in(self, view: View, era: Era, server: str, tool: str) -> Target | None:
        """Find another server's tool, if the caller may use it by itself as well.

        Raises NotFoundError, QuarantinedError.
        """
        whole = self._catalog.view_server(view.principal, server)
        return self._catalog.find(whole, era, ItemKind.TOOLS, tool)


def _unknown(errand: Errand) -> NotFoundError:
    then = "List again: it may have changed."
    match errand.deed:
        case Deed.CALL_TOOL:
            text = f"Unknown tool: {errand.key!r}. {then}"
            return NotFoundError(text, code="tool_not_found")
        case Deed.GET_PROMPT:
            text = f"Unknown prompt: {errand.key!r}. {then}"
            return NotFoundError(text, code="prompt_not_found")
        case Deed.READ_RESOURCE:
            text = f"Unknown resource: {errand.key!r}. {then}"
            return NotFoundError(text, code="resource_not_found")
        case Deed.COMPLETE:
            text = f"Unknown reference: {errand.key!r}. {then}"
            return NotFoundError(text, code="reference_not_found")


def without_round(errand: Errand) -> Errand:
    """Take off what belongs to a round of questions that the target does not know."""
    if not {"inputResponses", "requestState"} & errand.params.keys():
        return errand
    kept: RawObject = {
        name: value
        for name, value in errand.params.items()
        if name not in ("inputResponses", "requestState")
    }
    return replace(errand, params=kept)


def _as_changed(errand: Errand, thread: CallThread | None) -> Errand:
    """Give the errand with the arguments that a person has put in the place of the agent's."""
    if thread is None or thread.arguments is None:
        return errand
    arguments = json.dumps(thread.arguments).encode()
    return replace(errand, params={**errand.params, "arguments": arguments})


def _fresh_params(errand: Errand, target: Target) -> RawObject:
    return _own_params(without_round(errand), target)


def _own_params(errand: Errand, target: Target) -> RawObject:
    """Put the server's own name or URI in place of the exposed one."""
    own = json.dumps(target.key).encode()
    match errand.deed:
        case Deed.CALL_TOOL | Deed.GET_PROMPT:
            return {**errand.params, "name": own}
        case Deed.READ_RESOURCE:
            return {**errand.params, "uri": own}
        case Deed.COMPLETE if errand.ref is ItemKind.PROMPTS:
            return {**errand.params, "ref": b'{"type":"ref/prompt","name":' + own + b"}"}
        case Deed.COMPLETE:
            return {**errand.params, "ref": b'{"type":"ref/resource","uri":' + own + b"}"}
