"""One shared connection: each reply, progress message and question reaches its own caller."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agenthub.adapters.outbound.mcp_client.dispatcher import Dispatcher
from agenthub.adapters.outbound.mcp_client.messages import Request
from agenthub.adapters.outbound.mcp_client.questions import MAX_TASKS, Questions
from agenthub.domain.exceptions import (
    RpcError,
    TimedOutError,
    UnanswerableError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject
from tests.unit.adapters.outbound.mcp_client.kit import (
    WAIT_S,
    FakeCaller,
    FakeInbox,
    Running,
    Wire,
    dumps,
)


class Bench:
    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.group = group
        self.wire = Wire()
        self.inbox = FakeInbox()
        self.dispatcher = Dispatcher(send=self.wire.send, inbox=self.inbox, server_name="srv")

    def call(
        self,
        caller: Caller | None = None,
        *,
        timeout_s: float = WAIT_S,
        meta: RawObject | None = None,
    ) -> Running:
        return Running(
            self.group,
            self.dispatcher.request(
                "tools/call", {"name": b'"t"'}, meta=meta or {}, caller=caller, timeout_s=timeout_s
            ),
        )

    def ask(self, number: object = "q", method: str = "elicitation/create") -> None:
        self.dispatcher.receive(dumps(id=number, method=method, params={"message": "?"}))

    def reply(self, number: int) -> None:
        self.dispatcher.receive(dumps(id=number, result={"of": number}))


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        it = Bench(group)
        async with it.dispatcher:
            yield it


async def test_replies_find_their_requests_in_any_order() -> None:
    async with bench() as it:
        calls = [it.call(FakeCaller(wants_progress=False)) for _ in range(3)]
        for _ in calls:
            await it.wire.next()
        for number in (3, 1, 2):
            it.reply(number)
        assert [await call for call in calls] == [b'{"of": 1}', b'{"of": 2}', b'{"of": 3}']
        assert it.dispatcher.in_flight == 0


async def test_an_error_of_the_server_is_raised_unchanged() -> None:
    async with bench() as it:
        call = it.call()
        await it.wire.next()
        it.dispatcher.receive(dumps(id=1, error={"code": 7, "message": "no", "data": {"a": 1}}))
        with pytest.raises(RpcError) as caught:
            await call
        assert (caught.value.code, caught.value.message, caught.value.data) == (7, "no", {"a": 1})


async def test_progress_reaches_its_caller_before_the_result_and_without_token() -> None:
    async with bench() as it:
        first, second = FakeCaller(), FakeCaller("other")
        calls = [it.call(first, meta={"mine": b"1"}), it.call(second)]
        sent = [await it.wire.next() for _ in calls]
        assert sent[0]["params"]["_meta"] == {"mine": 1, "progressToken": 1}
        it.dispatcher.receive(
            dumps(method="notifications/progress", params={"progressToken": 2, "progress": 5})
        )
        it.reply(2)
        it.reply(1)
        for call in calls:
            await call
        assert (first.told, second.told) == ([], [{"progress": b"5"}])


async def test_log_messages_go_to_the_only_client_by_its_level_else_to_the_inbox() -> None:
    async with bench() as it:
        caller = FakeCaller(log_level="warning")
        call = it.call(caller)
        await it.wire.next()
        for level in ("info", "error"):
            it.dispatcher.receive(dumps(method="notifications/message", params={"level": level}))
        other = it.call(FakeCaller("other"))
        await it.wire.next()
        it.dispatcher.receive(dumps(method="notifications/message", params={"level": "alert"}))
        it.reply(1)
        it.reply(2)
        await call
        await other
        assert caller.logged == [{"level": b'"error"'}]
        assert it.inbox.heard == [("notifications/message", {"level": b'"alert"'})]


async def test_a_question_is_put_to_the_only_caller() -> None:
    async with bench() as it:
        caller = FakeCaller()
        call = it.call(caller)
        hubs_own = it.call(None)
        await it.wire.next()
        await it.wire.next()
        it.ask(0)
        assert await it.wire.next() == {"jsonrpc": "2.0", "id": 0, "result": {"action": "accept"}}
        assert caller.asked[0].server == "srv"
        assert caller.asked[0].params == b'{"message": "?"}'
        it.reply(1)
        it.reply(2)
        await call
        await hubs_own


async def test_a_question_with_two_clients_running_is_refused_and_counted() -> None:
    async with bench() as it:
        callers = [FakeCaller("a"), FakeCaller("b")]
        calls = [it.call(caller) for caller in callers]
        for _ in calls:
            await it.wire.next()
        it.ask()
        assert (await it.wire.next())["error"]["code"] == -32603
        assert it.dispatcher.unattributed == 1
        assert [caller.asked for caller in callers] == [[], []]
        it.reply(1)
        it.reply(2)
        for call in calls:
            await call


async def test_a_question_with_two_clients_running_is_put_to_a_person_as_nobodys() -> None:
    async with bench() as it:
        ann = FakeCaller("ann")
        bob = FakeCaller("bob", has_person=True, reply=b'{"action":"decline"}')
        calls = [it.call(caller) for caller in (ann, bob)]
        for _ in calls:
            await it.wire.next()
        it.ask()
        assert (await it.wire.next())["result"] == {"action": "decline"}
        assert ann.asked == []
        assert [question.is_attributed for question in bob.asked] == [False]
        assert it.dispatcher.unattributed == 1
        it.reply(1)
        it.reply(2)
        for call in calls:
            await call


async def test_of_two_calls_of_one_client_the_newer_is_asked_through() -> None:
    async with bench() as it:
        older, newer = FakeCaller("ann"), FakeCaller("ann")
        calls = [it.call(caller) for caller in (older, newer)]
        for _ in calls:
            await it.wire.next()
        it.ask()
        assert (await it.wire.next())["result"] == {"action": "accept"}
        assert (len(older.asked), len(newer.asked)) == (0, 1)
        it.reply(1)
        it.reply(2)
        for call in calls:
            await call


async def test_while_a_person_is_asked_for_nobody_no_clock_runs() -> None:
    async with bench() as it:
        ann, bob = FakeCaller("ann", has_person=True), FakeCaller("bob")
        ann.held.clear()
        calls = [it.call(caller, timeout_s=0.1) for caller in (ann, bob)]
        for _ in calls:
            await it.wire.next()
        it.ask()
        await ann.asking.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(calls[1].task), 0.2)
        ann.held.set()
        assert (await it.wire.next())["result"] == {"action": "accept"}
        it.reply(1)
        it.reply(2)
        for call in calls:
            await call


async def test_a_question_with_nobody_running_is_refused() -> None:
    async with bench() as it:
        it.ask()
        assert (await it.wire.next())["error"]["code"] == -32603
        assert it.dispatcher.unattributed == 0


async def test_a_question_of_a_request_given_up_reaches_nobody_else() -> None:
    async with bench() as it:
        ann, bob = FakeCaller("ann"), FakeCaller("bob")
        given_up = it.call(ann, timeout_s=0.01)
        await it.wire.next()
        with pytest.raises(TimedOutError):
            await given_up
        assert (await it.wire.next())["method"] == "notifications/cancelled"
        it.ask("alone")
        assert (await it.wire.next())["error"]["code"] == -32603
        call = it.call(bob)
        await it.wire.next()
        it.ask("anns")
        assert (await it.wire.next())["error"]["code"] == -32603
        it.dispatcher.receive(dumps(method="notifications/message", params={"level": "error"}))
        it.reply(1)
        it.ask("bobs")
        assert (await it.wire.next())["result"] == {"action": "accept"}
        it.reply(2)
        await call
        assert (len(ann.asked), len(bob.asked), bob.logged) == (0, 1, [])
        assert it.dispatcher.unattributed == 0


async def test_a_question_goes_to_its_client_though_that_gave_up_another_request() -> None:
    async with bench() as it:
        given_up, call = it.call(FakeCaller("ann")), it.call(FakeCaller("ann"))
        await it.wire.next()
        await it.wire.next()
        given_up.task.cancel()
        assert (await it.wire.next())["params"] == {"requestId": 1}
        it.ask()
        assert (await it.wire.next())["result"] == {"action": "accept"}
        it.reply(2)
        await call


async def test_a_question_to_one_client_of_many_calls_lives_as_long_as_any_of_them() -> None:
    async with bench() as it:
        caller = FakeCaller("a")
        caller.held.clear()
        calls = [it.call(caller), it.call(caller)]
        for _ in calls:
            await it.wire.next()
        it.ask()
        await caller.asking.wait()
        it.reply(1)
        await calls[0]
        assert caller.withdrawn == []
        it.reply(2)
        await calls[1]
        await caller.withdrawing.wait()


async def test_the_clock_stands_while_the_caller_is_asked() -> None:
    async with bench() as it:
        caller = FakeCaller()
        caller.held.clear()
        call = it.call(caller, timeout_s=0.05)
        await it.wire.next()
        it.ask()
        await caller.asking.wait()
        done, _ = await asyncio.wait([call.task], timeout=0.2)
        assert not done
        caller.held.set()
        assert (await it.wire.next())["result"] == {"action": "accept"}
        with pytest.raises(TimedOutError):
            await call


async def test_the_server_may_withdraw_its_question() -> None:
    async with bench() as it:
        caller = FakeCaller()
        caller.held.clear()
        call = it.call(caller)
        await it.wire.next()
        it.ask("q1")
        await caller.asking.wait()
        it.dispatcher.receive(dumps(method="notifications/cancelled", params={"requestId": "q1"}))
        await caller.withdrawing.wait()
        it.reply(1)
        await call


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (UnanswerableError("nobody there"), -32601),
        (RpcError(-1, "user said no"), -1),
        (UnavailableError("gone"), -32603),
        (ZeroDivisionError("a bug"), -32603),
    ],
)
async def test_a_question_that_cannot_be_answered_gets_an_error(
    reply: Exception, code: int
) -> None:
    async with bench() as it:
        call = it.call(FakeCaller(reply=reply))
        await it.wire.next()
        it.ask()
        assert (await it.wire.next())["error"]["code"] == code
        it.reply(1)
        await call


async def test_roots_are_never_relayed_and_pings_are_answered() -> None:
    async with bench() as it:
        caller = FakeCaller()
        call = it.call(caller)
        await it.wire.next()
        it.ask("r", "roots/list")
        assert (await it.wire.next())["error"]["code"] == -32601
        it.ask("p", "ping")
        assert (await it.wire.next())["result"] == {}
        assert caller.asked == []
        it.reply(1)
        await call


async def test_giving_up_tells_the_server() -> None:
    async with bench() as it:
        call = it.call(timeout_s=0.01)
        await it.wire.next()
        with pytest.raises(TimedOutError):
            await call
        told = await it.wire.next()
        assert (told["method"], told["params"]) == ("notifications/cancelled", {"requestId": 1})
        call = it.call()
        await it.wire.next()
        call.task.cancel()
        assert (await it.wire.next())["params"] == {"requestId": 2}


async def test_a_lost_connection_fails_what_runs_and_what_comes() -> None:
    async with bench() as it:
        call = it.call()
        await it.wire.next()
        it.dispatcher.fail(UnavailableError("gone"))
        for doomed in (call, it.call()):
            with pytest.raises(UnavailableError):
                await doomed


async def test_a_failed_send_is_that_requests_fault_alone() -> None:
    async with bench() as it:
        sibling = it.call()
        await it.wire.next()
        it.wire.fault = UnavailableError("pipe")
        with pytest.raises(UnavailableError):
            await it.call()
        it.reply(1)
        await sibling


async def test_garbage_is_passed_over_and_a_broken_reply_fails_its_request_at_once() -> None:
    async with bench() as it:
        call, sibling = it.call(), it.call()
        await it.wire.next()
        await it.wire.next()
        it.dispatcher.receive(b"Server listening ...")
        it.dispatcher.receive(b'{"jsonrpc":"2.0","id":1,"result":{"x":"\xff"}}')
        with pytest.raises(UpstreamError):
            await call
        it.reply(2)
        await sibling


async def test_a_fault_in_taking_a_message_ends_nothing() -> None:
    class BrokenInbox(FakeInbox):
        def notification(self, method: str, params: RawObject) -> None:
            raise ZeroDivisionError

    wire = Wire()
    async with Dispatcher(send=wire.send, inbox=BrokenInbox(), server_name="srv") as dispatcher:
        dispatcher.receive(dumps(method="notifications/tools/list_changed"))
        dispatcher.receive(b'{"jsonrpc":"2.0","method":1e400}')
        dispatcher.receive(dumps(id="p", method="ping"))
        assert (await wire.next())["id"] == "p"


async def test_other_notifications_go_to_the_inbox() -> None:
    async with bench() as it:
        it.dispatcher.receive(dumps(method="notifications/tools/list_changed"))
        assert it.inbox.heard == [("notifications/tools/list_changed", {})]
        await it.dispatcher.notify("notifications/initialized", {})
        assert (await it.wire.next())["method"] == "notifications/initialized"


async def test_a_flood_of_progress_is_bounded() -> None:
    async with bench() as it:
        caller = FakeCaller()
        call = it.call(caller)
        await it.wire.next()
        note = dumps(method="notifications/progress", params={"progressToken": 1, "progress": 1})
        for _ in range(1000):
            it.dispatcher.receive(note)
        it.reply(1)
        await call
        assert 0 < len(caller.told) < 1000


async def test_a_flood_of_pings_to_a_server_that_reads_nothing_is_bounded() -> None:
    async def stuck(message: bytes) -> None:
        sending.append(message)
        if message == b"the hub has still room":
            said.set()
        await asyncio.Event().wait()

    sending: list[bytes] = []
    said = asyncio.Event()
    async with asyncio.timeout(WAIT_S):
        async with Questions(send=stuck, server_name="srv") as questions:
            for number in range(1000):
                questions.put(Request(b"%d" % number, "ping", b"{}"), [])
            questions.say(b"the hub has still room")
            await said.wait()
            assert len(sending) == 1000 - questions.dropped + 1
            assert len(sending) <= MAX_TASKS


async def test_what_is_said_after_the_end_is_dropped() -> None:
    wire = Wire()
    async with Questions(send=wire.send, server_name="srv") as questions:
        pass
    questions.say(b"{}")
    questions.put(Request(b"1", "ping", b"{}"), [])
    assert wire.sent.empty()


async def test_giving_up_after_the_connection_ended_is_still_a_timeout() -> None:
    wire = Wire()
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        async with Dispatcher(send=wire.send, inbox=FakeInbox(), server_name="srv") as dispatcher:
            call = Running(
                group, dispatcher.request("tools/call", {}, meta={}, caller=None, timeout_s=0.05)
            )
            await wire.next()
        with pytest.raises(TimedOutError):
            await call
