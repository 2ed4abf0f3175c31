"""Targets are told of the feed in order, at least once, and none holds up another."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from agenthub.domain.entities.hitl.request import RequestStatus
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.entities.notices.target import NoticeTarget, TargetKind
from agenthub.domain.event import (
    BudgetAlerted,
    CatalogChanged,
    DomainEvent,
    ElicitationAsked,
    ServerStatusChanged,
)
from agenthub.domain.exceptions import (
    ConflictError,
    DeniedError,
    GoneError,
    InvalidError,
    NotFoundError,
    TimedOutError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ids import DEFAULT_WORKSPACE, BudgetId, EndpointId
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.events import EventService
from agenthub.domain.services.notices.desk import NoticeService, TargetDraft, TargetPatch
from agenthub.domain.services.notices.follower import GRACE
from tests.contracts.hitl_samples import elicitation
from tests.fakes.clock import FakeChance, FakeClock, FakeIdFactory
from tests.fakes.event_bus import FakeEventBus
from tests.fakes.notifier import FakeNotifier
from tests.fakes.storage import FakeUnitOfWork
from tests.support.pauses import Pauses
from tests.support.waiting import eventually, soon
from tests.unit.domain.services.samples import bound_to, with_scopes

GRACE_S = GRACE.total_seconds()
QUESTION_LIVES = timedelta(minutes=10)
DAY_S = timedelta(days=1).total_seconds()
FAULT = UnavailableError("it answered with 500")


class Office:
    """Everything that outlives a restart, and a desk that does not."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.bus = FakeEventBus()
        self.uow = FakeUnitOfWork(bus=self.bus, clock=self.clock)
        self.pauses = Pauses(self.clock)
        self.hooks = FakeNotifier(TargetKind.WEBHOOK)
        self.mails = FakeNotifier(TargetKind.APPRISE)
        self.ids = FakeIdFactory()

    async def starts(self) -> None:
        self.events = EventService(bus=self.bus, directory=Directory(), keep=10_000, uow=self.uow)
        self.desk = NoticeService(
            chance=FakeChance(),
            clock=self.clock,
            events=self.events,
            ids=self.ids,
            notifiers=[self.hooks, self.mails],
            pause=self._pause,
            uow=self.uow,
        )
        await self.desk.__aenter__()

    async def stops(self) -> None:
        await self.desk.__aexit__(None, None, None)

    async def _pause(self, seconds: float) -> None:
        await self.pauses.pause(seconds, asyncio.Event())

    async def adds(self, name: str = "hook", **changes: object) -> NoticeTarget:
        draft = TargetDraft(name=name, kind=TargetKind.WEBHOOK, address="https://example.com/")
        return await self.desk.create(OWNER, replace(draft, **changes))

    async def emits(self, *events: DomainEvent) -> None:
        async with self.uow.begin(OWNER) as tx:
            for event in events:
                tx.emit(event)
            await tx.commit()

    def status(self, status: str, server: str = "time") -> ServerStatusChanged:
        return ServerStatusChanged(
            workspace=DEFAULT_WORKSPACE,
            at=self.clock.now(),
            endpoint_id=EndpointId(f"id-{server}"),
            server=server,
            status=status,
        )

    def alert(self, percent: int) -> BudgetAlerted:
        return BudgetAlerted(
            workspace=DEFAULT_WORKSPACE,
            at=self.clock.now(),
            budget_id=BudgetId("B1"),
            scope="hub",
            subject="",
            percent=percent,
            spent_nano_usd=percent * 10**9,
            limit_nano_usd=100 * 10**9,
            hard_stop=False,
        )

    async def asks(self, status: RequestStatus = RequestStatus.PENDING) -> None:
        """A question waits, or was answered as soon as it was asked."""
        now = self.clock.now()
        question = elicitation(
            self.ids.new(), status=status, created_at=now, expires_at=now + QUESTION_LIVES
        )
        async with self.uow.begin(OWNER) as tx:
            await tx.requests.add([question])
            tx.emit(
                ElicitationAsked(
                    workspace=DEFAULT_WORKSPACE,
                    at=now,
                    request_id=question.id,
                    server="time",
                    tool="plan",
                    expires_at=question.expires_at,
                )
            )
            await tx.commit()

    @asynccontextmanager
    async def reader(self, principal: Principal) -> AsyncGenerator[None]:
        """Somebody follows the event feed."""
        feed = self.events.follow(principal, 0)
        await soon(anext(feed))
        yield
        await feed.aclose()

    async def alerts(self, *percents: int) -> None:
        await self.emits(*(self.alert(percent) for percent in percents))

    async def told(self, count: int, name: str = "hook") -> list[str]:
        """Wait for so many notices; give the first number in each title's words."""
        titles = await eventually(
            lambda: found if len(found := self.hooks.titles(name)) >= count else None
        )
        assert titles is not None
        assert len(titles) == count
        return [title.removeprefix("Budget hub: ").split(" ")[0] for title in titles]

    def kept(self, name: str = "hook") -> NoticeTarget:
        rows = self.uow.rows[DEFAULT_WORKSPACE].notice_targets.values()
        return next(target for target in rows if target.name == name)


@pytest.fixture
async def office() -> AsyncGenerator[Office]:
    made = Office()
    await made.starts()
    yield made
    await made.stops()


async def test_a_target_is_told_in_order_of_what_happens_from_now_on(office: Office) -> None:
    await office.alerts(10)
    await office.adds()
    await office.alerts(50, 80)
    await office.alerts(100)
    assert await office.told(3) == ["50", "80", "100"]
    await eventually(lambda: office.kept().cursor == 4)


async def test_only_chosen_events_are_told(office: Office) -> None:
    await office.adds(events=("server.status",))
    await office.adds("other", events=("budget.alert",))
    await office.emits(office.alert(50), office.status("unreachable"))
    assert await office.told(1) == ["Server"]
    assert await office.told(1, "other") == ["50"]


async def test_the_usual_steps_of_a_start_are_not_told(office: Office) -> None:
    await office.adds()
    for server in ("time", "git"):
        await office.emits(*(office.status(one, server) for one in ("connecting", "ready")))
    await office.emits(office.status("unreachable"), office.status("ready"))
    assert await office.told(2)
    assert office.hooks.titles("hook") == [
        "Server time: unreachable",
        "Server time: reachable again",
    ]


async def test_a_failed_notice_is_tried_again_before_the_next_one(office: Office) -> None:
    await office.adds()
    office.hooks.faults["hook"] = [FAULT, FAULT]
    await office.alerts(50, 80)
    await office.pauses.pass_by(1)
    assert office.kept().last_fault == "it answered with 500"
    await office.pauses.pass_by(2)
    assert await office.told(2) == ["50", "80"]
    assert len({notice_id for _, notice_id in office.hooks.attempts}) == 2
    await eventually(lambda: office.kept().last_fault is None)


async def test_the_pauses_double_up_to_five_minutes_and_heed_the_target(office: Office) -> None:
    await office.adds()
    office.hooks.always["hook"] = FAULT
    await office.alerts(50)
    for _ in range(12):
        await office.pauses.pass_by(300)
    for taken, longest in zip(office.pauses.taken, (1, 2, 4, 8, 16, 32, 64, 128), strict=False):
        assert longest / 2 <= taken <= longest
    assert all(150 <= taken <= 300 for taken in office.pauses.taken[9:12])
    office.hooks.always["hook"] = UnavailableError("busy", retry_after_s=1_000)
    await office.pauses.pass_by(300)
    await eventually(lambda: office.pauses.taken[-1] == 1_000)


async def test_after_a_day_a_notice_is_skipped_and_the_target_says_so(office: Office) -> None:
    await office.adds()
    office.hooks.always["hook"] = FAULT
    await office.alerts(50)
    await office.pauses.pass_by(DAY_S)
    await eventually(lambda: "Gave up" in (office.kept().last_fault or ""))
    assert office.kept().cursor == 1
    del office.hooks.always["hook"]
    await office.alerts(80)
    assert await office.told(1) == ["80"]


async def test_a_question_is_told_while_nobody_looks(office: Office) -> None:
    await office.adds()
    await office.asks()
    await office.pauses.pass_by(GRACE_S)
    await office.told(1)
    assert office.hooks.titles("hook") == ["Server time, tool plan: has a question"]


@pytest.mark.parametrize(
    ("reader", "is_told"),
    [
        (OWNER, False),
        (with_scopes(Scope.HUB_READ, Scope.HITL_ANSWER), False),
        (with_scopes(Scope.HUB_READ), True),
        (bound_to("dev"), True),
    ],
)
async def test_a_question_is_not_told_while_somebody_looks_who_may_answer(
    office: Office, reader: Principal, is_told: bool
) -> None:
    quiet = {"workspace": DEFAULT_WORKSPACE, "at": office.clock.now()}
    await office.emits(CatalogChanged(**quiet, server=None, kinds=(), counts={}))
    await office.adds()
    await office.asks()
    async with office.reader(reader):
        await office.pauses.pass_by(GRACE_S)
        await office.alerts(50)
        await office.told(1 + is_told)
    await office.asks()
    await office.pauses.pass_by(GRACE_S)
    await office.told(2 + is_told)


async def test_a_question_that_was_answered_at_once_is_not_told(office: Office) -> None:
    await office.adds()
    await office.asks(RequestStatus.COMPLETED)
    await office.pauses.pass_by(GRACE_S)
    await office.alerts(50)
    assert await office.told(1) == ["50"]


async def test_a_question_is_told_no_longer_than_it_waits(office: Office) -> None:
    await office.adds()
    office.hooks.always["hook"] = FAULT
    await office.asks()
    await office.pauses.pass_by(GRACE_S)
    await office.pauses.pass_by(QUESTION_LIVES.total_seconds())
    await eventually(lambda: "too late" in (office.kept().last_fault or ""))
    await office.stops()
    await office.asks()
    office.clock.advance(QUESTION_LIVES.total_seconds())
    office.hooks.always.clear()
    await office.starts()
    await office.alerts(80)
    assert await office.told(1) == ["80"]


async def test_nothing_is_lost_over_a_restart(office: Office) -> None:
    await office.adds()
    office.hooks.always["hook"] = FAULT
    await office.alerts(50)
    await eventually(lambda: office.pauses.waiting)
    await office.stops()
    await office.alerts(80)
    office.hooks.always.clear()
    await office.starts()
    assert await office.told(2) == ["50", "80"]


async def test_after_a_restart_it_is_known_what_was_bad(office: Office) -> None:
    await office.adds()
    await office.emits(office.status("unreachable"))
    await office.told(1)
    await eventually(lambda: office.kept().cursor == 1)
    await office.stops()
    await office.starts()
    await office.emits(office.status("unreachable"), office.status("ready"))
    await office.told(2)
    assert office.hooks.titles("hook")[-1] == "Server time: reachable again"


async def test_a_target_that_hangs_or_fails_holds_up_no_other(office: Office) -> None:
    await office.adds("hangs")
    await office.adds("fails")
    await office.adds()
    office.hooks.holding.add("hangs")
    office.hooks.always["fails"] = TimedOutError("silence")
    await office.alerts(50, 80, 100)
    assert await office.told(3) == ["50", "80", "100"]


async def test_a_bug_of_a_notifier_is_a_failed_attempt(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    await office.adds()
    office.hooks.faults["hook"] = [ZeroDivisionError()]
    await office.alerts(50)
    await office.pauses.pass_by(1)
    assert await office.told(1) == ["50"]
    assert "ZeroDivisionError" in caplog.text


async def test_a_target_that_is_gone_is_disabled(office: Office) -> None:
    await office.adds()
    office.hooks.faults["hook"] = [GoneError("it wants no more notices")]
    await office.alerts(50, 80)
    await eventually(lambda: not office.kept().enabled)
    assert office.kept().last_fault == "it wants no more notices"
    assert len(office.hooks.attempts) == 1


async def test_a_target_enabled_again_does_not_hear_what_it_missed(office: Office) -> None:
    await office.adds(enabled=False)
    await office.alerts(50)
    await office.desk.update(OWNER, "hook", TargetPatch(enabled=True))
    await office.alerts(80)
    assert await office.told(1) == ["80"]


async def test_a_changed_target_is_told_on_where_it_was(office: Office) -> None:
    await office.adds()
    office.hooks.always["hook"] = FAULT
    await office.alerts(50)
    await eventually(lambda: office.pauses.waiting)
    changed = await office.desk.update(
        OWNER, "hook", TargetPatch(name="renamed", address="https://example.org/")
    )
    assert (changed.cursor, changed.address) == (0, "https://example.org/")
    assert await office.told(1, "renamed") == ["50"]


async def test_a_removed_target_is_told_no_more(office: Office) -> None:
    await office.adds()
    await office.desk.remove(OWNER, "hook")
    await office.alerts(50)
    await office.adds("other")
    await office.alerts(80)
    await office.told(1, "other")
    assert office.hooks.titles("hook") == []


async def test_events_that_are_no_longer_kept_are_told_as_a_gap(office: Office) -> None:
    await office.adds()
    await office.alerts(50)
    await office.told(1)
    await eventually(lambda: office.kept().cursor == 1)
    await office.stops()
    await office.alerts(60, 70, 80)
    del office.uow.rows[DEFAULT_WORKSPACE].events[:3]
    await office.starts()
    await office.told(3)
    assert "missed" in office.hooks.titles("hook")[1]
    assert office.hooks.taken[1][1].event == "gap"


async def test_the_cursor_moves_also_while_nothing_is_told(office: Office) -> None:
    await office.adds()
    quiet = CatalogChanged(
        workspace=DEFAULT_WORKSPACE, at=office.clock.now(), server=None, kinds=(), counts={}
    )
    await office.emits(*[quiet] * 450)
    await eventually(lambda: office.kept().cursor == 400)


async def test_a_webhook_is_given_a_secret_and_a_mailbox_none(office: Office) -> None:
    hook = await office.adds()
    assert hook.secret.startswith("whsec_")
    assert (await office.adds("second")).secret != hook.secret
    mail = await office.adds("mail", kind=TargetKind.APPRISE, address="mailto://u:p@example.com")
    assert mail.secret == ""


async def test_wrong_targets_are_refused_and_change_nothing(office: Office) -> None:
    await office.adds()
    for changes in ({"name": ""}, {"events": ()}, {"events": ("x",)}, {"address": "https://bad"}):
        with pytest.raises(InvalidError):
            await office.adds(**{"name": "new", **changes})
    for patch in (TargetPatch(events=("x",)), TargetPatch(address="https://bad")):
        with pytest.raises(InvalidError):
            await office.desk.update(OWNER, "hook", patch)
    with pytest.raises(ConflictError):
        await office.adds()
    await office.alerts(50)
    assert await office.told(1) == ["50"]


async def test_a_change_that_fails_leaves_the_target_told(office: Office) -> None:
    await office.adds()
    await office.adds("other")
    with pytest.raises(ConflictError):
        await office.desk.update(OWNER, "hook", TargetPatch(name="other"))
    await office.alerts(50)
    assert await office.told(1) == ["50"]


async def test_a_test_is_sent_at_once_and_its_failure_is_the_answer(office: Office) -> None:
    await office.adds(enabled=False)
    await office.desk.test(OWNER, "hook")
    assert office.hooks.titles("hook") == ["AgentHub: a test"]
    office.hooks.always["hook"] = FAULT
    with pytest.raises(UpstreamError) as refused:
        await office.desk.test(OWNER, "hook")
    assert refused.value.code == "notice_failed"
    assert "500" in refused.value.message


async def test_only_admins_change_and_no_bound_key_reads(office: Office) -> None:
    target = await office.adds()
    writer = with_scopes(Scope.HUB_READ, Scope.HUB_WRITE)
    assert [one.name for one in await office.desk.targets(writer)] == ["hook"]
    for attempt in (
        office.desk.create(writer, TargetDraft(name="x", kind=target.kind, address="https://x")),
        office.desk.update(writer, "hook", TargetPatch()),
        office.desk.remove(writer, "hook"),
        office.desk.test(writer, "hook"),
        office.desk.targets(bound_to("dev")),
    ):
        with pytest.raises(DeniedError):
            await attempt


async def test_an_unknown_target_is_not_found(office: Office) -> None:
    for attempt in (
        office.desk.get(OWNER, "x"),
        office.desk.update(OWNER, "x", TargetPatch()),
        office.desk.remove(OWNER, "x"),
        office.desk.test(OWNER, "x"),
    ):
        with pytest.raises(NotFoundError):
            await attempt
