"""Hubs that come and go over one store and one set of servers: calls, people, and restarts."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

from agenthub.domain.entities.catalog.listing import Catalog, Item, ItemKind
from agenthub.domain.entities.endpoints import Endpoint, Era
from agenthub.domain.entities.hitl.elicitation_request import Action, ElicitationRequest
from agenthub.domain.entities.hitl.held_call import HeldCall
from agenthub.domain.entities.hitl.request import HitlRequest, RequestStatus
from agenthub.domain.entities.hitl.rules import ApprovalPolicy, PolicyAction
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import UnanswerableError
from agenthub.domain.ids import DEFAULT_WORKSPACE, HeldCallId, RuleId
from agenthub.domain.ports.outbound.llm import ModelChunk
from agenthub.domain.ports.outbound.mcp_client import (
    Answer,
    Caller,
    InputRequired,
    Question,
    RawObject,
    UpstreamRequest,
)
from agenthub.domain.services.calls import Deed, Errand, Outcome
from agenthub.domain.services.catalog.views import CatalogService
from agenthub.domain.services.cost.budgets import BudgetService
from agenthub.domain.services.cost.prices import PriceBook
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.held import HeldCalls, Waiting
from agenthub.domain.services.hitl.approvals import ApprovalDesk
from agenthub.domain.services.hitl.clearing import Clearing
from agenthub.domain.services.hitl.elicitation import ElicitationDesk
from agenthub.domain.services.hitl.people import People
from agenthub.domain.services.hitl.queue import HitlQueue
from agenthub.domain.services.hitl.sampling import SamplingDesk
from agenthub.domain.services.identity import IdentityService
from agenthub.domain.services.models import ModelService
from tests.fakes.clock import NEW_YEAR, FakeChance, FakeClock, FakeIdFactory
from tests.fakes.llm import FakeLlm, FakePriceList
from tests.fakes.mcp_client import FakeMcpClient
from tests.fakes.storage import FakeKeyLookup, FakeUnitOfWork
from tests.support.calling import calls_over, policies_over
from tests.support.waiting import eventually
from tests.unit.domain.services.samples import endpoint

TTL_S = 600
FORM = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {}}}
LINK = {"mode": "url", "message": "Sign in", "url": "https://example.com/sign-in"}
WISH = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}],
    "maxTokens": 5,
}
RESULT = b'{"content":[]}'
ACCEPTED = {"action": "accept", "content": {}}

R = TypeVar("R", bound=HitlRequest)


def ask_form(**more: Any) -> Question:
    return Question("calc", "elicitation/create", json.dumps(FORM).encode(), **more)


def ask_link() -> Question:
    return Question("calc", "elicitation/create", json.dumps(LINK).encode())


class Agent(Caller):
    """Answers what `answers` has, by method; `can` says whether it may be asked at all."""

    def __init__(
        self, era: Era = Era.MODERN, answers: Mapping[str, bytes] | None = None, *, name: str = "a"
    ) -> None:
        self.era = era
        self.capabilities: Mapping[str, Any] = {}
        self.client = name
        self.agent = name
        self.conversation = f"talk of {name}"
        self.wants_progress = False
        self.log_level = None
        self.answers = dict(answers or {})
        self.asked: list[Question] = []
        self.heard: list[RawObject] = []

    def can_answer(self, question: Question) -> bool:
        return question.method in self.answers

    async def progress(self, params: RawObject) -> None:
        self.heard.append(params)

    async def log(self, params: RawObject) -> None:
        self.heard.append(params)

    async def ask(self, question: Question) -> bytes:
        self.asked.append(question)
        if question.method not in self.answers:
            raise UnanswerableError("This agent was not asked for that.")
        return self.answers[question.method]


class Server:
    """One server, `calc`: a legacy one asks in the middle of a call, a modern one in rounds.

    `questions` is what it asks before it answers, `sent` what reached it, `given` the answers.
    """

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.rounds: list[InputRequired] = []
        self.errors: list[Exception] = []
        self.given: list[Any] = []
        self.sent: list[UpstreamRequest] = []

    async def handle(self, request: UpstreamRequest, caller: Caller) -> Answer:
        self.sent.append(request)
        if self.errors:
            raise self.errors.pop(0)
        for question in self.questions:
            self.given.append(json.loads(await caller.ask(question)))
        if self.rounds:
            return Answer(b"{}", Era.MODERN, self.rounds.pop(0))
        return Answer(RESULT, Era.MODERN)

    @property
    def arguments(self) -> list[Any]:
        return [json.loads(request.params.get("arguments", b"null")) for request in self.sent]


class House:
    """What outlives a hub: the store, the clock, the server."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ids = FakeIdFactory()
        self.uow = FakeUnitOfWork(clock=self.clock)
        self.server = Server()
        self.endpoint: Endpoint = endpoint("calc")

    @asynccontextmanager
    async def living(self, **settings: Any) -> AsyncGenerator["Hub"]:
        """Run one process of the hub, until the block ends."""
        hub = Hub(self, **settings)
        async with AsyncExitStack() as stack:
            for resident in (hub.budgets, hub.models, hub.queue, hub.sampling, hub.held):
                await stack.enter_async_context(resident)
            await hub.start()
            yield hub
            hub.held.stop()

    @property
    def requests(self) -> list[HitlRequest]:
        rows = self.uow.rows[DEFAULT_WORKSPACE].hitl.requests
        return sorted(rows.values(), key=lambda one: one.id)

    @property
    def rows(self) -> list[HeldCall]:
        return list(self.uow.rows[DEFAULT_WORKSPACE].hitl.held_calls.values())

    def row(self, call_id: HeldCallId) -> HeldCall:
        return self.uow.rows[DEFAULT_WORKSPACE].hitl.held_calls[call_id]

    async def asked(self, kind: type[R], count: int = 1) -> R:
        """Wait until so many questions of a kind were asked, and give the last."""

        def look() -> list[R]:
            found = [one for one in self.requests if isinstance(one, kind)]
            return found if len(found) >= count else []

        return (await eventually(look))[-1]

    async def put_policy(self, action: PolicyAction = PolicyAction.ASK, **more: Any) -> None:
        policy = ApprovalPolicy(
            id=RuleId(f"policy-{action.value}"),
            workspace=DEFAULT_WORKSPACE,
            name="careful",
            action=action,
            created_at=NEW_YEAR,
            created_by="owner",
            **more,
        )
        async with self.uow.begin(OWNER) as tx:
            await tx.rules.put_policy(policy)
            await tx.commit()

    def statuses(self) -> list[RequestStatus]:
        return [one.status for one in self.requests]


class Hub:
    """One process: the services of held calls, and all they stand on."""

    def __init__(
        self,
        house: House,
        *,
        hold_s: float = 60.0,
        enabled: bool = True,
        shared: bool = False,
        model: str | None = None,
        **policy: Any,
    ) -> None:
        clock, ids, uow = house.clock, house.ids, house.uow
        self.house = house
        self.client = FakeMcpClient()
        self.client.handle = house.server.handle
        directory = Directory()
        directory.put_endpoint(house.endpoint)
        self.catalog = CatalogService(client=self.client, directory=directory)
        self.client.attach(self.catalog)
        self.queue = HitlQueue(
            bus=uow.bus, clock=clock, ids=ids, keep_days=9, shared=shared, ttl_s=TTL_S, uow=uow
        )
        prices = FakePriceList("priced")
        self.budgets = BudgetService(
            clock=clock, ids=ids, monthly_nano_usd=0, recover_after=timedelta(0), uow=uow
        )
        self.models = ModelService(
            book=PriceBook(prices=prices, uow=uow),
            budgets=self.budgets,
            clock=clock,
            ids=ids,
            llm=FakeLlm([ModelChunk(text="five", finish_reason="stop")]),
            max_tokens=100,
            model=model,
            prices=prices,
        )
        self.sampling = SamplingDesk(
            clock=clock, ids=ids, models=self.models, queue=self.queue, uow=uow
        )
        self.approvals = ApprovalDesk(clock=clock, ids=ids, queue=self.queue, uow=uow)
        self.elicitation = ElicitationDesk(queue=self.queue)
        policies = policies_over(self.client, directory, clock, uow, timeout_s=9, **policy)
        self.people = People(
            approvals=self.approvals,
            clock=clock,
            elicitation=self.elicitation,
            enabled=enabled,
            ids=ids,
            policies=policies,
            queue=self.queue,
            sampling=self.sampling,
        )
        self.calls = calls_over(
            self.client,
            directory,
            self.catalog,
            timeout_s=9,
            budgets=self.budgets,
            clearing=Clearing(approvals=self.approvals, catalog=self.catalog),
            clock=clock,
            policies=policies,
            uow=uow,
        )
        self.identity = IdentityService(
            chance=FakeChance(),
            clock=clock,
            directory=directory,
            ids=ids,
            lookup=FakeKeyLookup(uow=uow),
            owner_token="owner",
            uow=uow,
        )
        self.held = HeldCalls(
            calls=self.calls,
            catalog=self.catalog,
            clock=clock,
            hold_s=hold_s,
            identity=self.identity,
            people=self.people,
            queue=self.queue,
        )

    async def start(self) -> None:
        await self.approvals.load()
        await self.client.connect(self.house.endpoint)
        tools = tuple(
            Item(ItemKind.TOOLS, name, {"name": name, "title": "Adding"})
            for name in ("add", "add2")
        )
        self.client.offer(self.house.endpoint.id, Catalog({ItemKind.TOOLS: tools}))
        await self.held.load()

    async def call(
        self,
        agent: Caller | None = None,
        principal: Principal = OWNER,
        arguments: bytes = b'{"n": 1}',
        **more: bytes,
    ) -> Outcome | Waiting:
        params = {"name": b'"calc__add"', "arguments": arguments, **more}
        errand = Errand(Deed.CALL_TOOL, "calc__add", params)
        return await self.held.carry(self.catalog.view_all(principal), errand, agent or Agent())

    async def respond(
        self, request: HitlRequest, action: Action = Action.ACCEPT
    ) -> ElicitationRequest:
        return await self.elicitation.respond(OWNER, request.id, action, {})
