"""Webhooks are signed as the specification says, and every answer has its meaning."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import pytest

from agenthub.adapters.outbound.http.aiohttp import AiohttpClient
from agenthub.adapters.outbound.http.host_guard import HostGuard
from agenthub.adapters.outbound.notifier.webhook import WebhookNotifier, signed
from agenthub.domain.entities.notices.target import NoticeTarget, TargetKind
from agenthub.domain.exceptions import (
    GoneError,
    HubError,
    InvalidError,
    QuotaError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ids import DEFAULT_WORKSPACE, NoticeTargetId
from agenthub.domain.ports.outbound.http import ConnectFailedError, EgressDeniedError
from agenthub.domain.ports.outbound.notifier import Notice
from tests.fakes.clock import NEW_YEAR, FakeClock
from tests.support.ports import free_port
from tests.support.receiver import Receiver, receiving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOTICE = Notice(
    id="N1-server.status-7",
    at=datetime(2026, 11, 21, 12, 0, 0, 5000, tzinfo=UTC),
    event="server.status",
    facts={"server": "zeit ☃", "status": "unreachable"},
    title="Server zeit ☃: unreachable",
    body="refused",
)


def target(address: str, secret: str = SECRET) -> NoticeTarget:
    return NoticeTarget(
        id=NoticeTargetId("N1"),
        workspace=DEFAULT_WORKSPACE,
        name="hook",
        kind=TargetKind.WEBHOOK,
        address=address,
        secret=secret,
        created_at=NEW_YEAR,
        updated_at=NEW_YEAR,
    )


class Bench:
    def __init__(self, receiver: Receiver, http: AiohttpClient) -> None:
        self.receiver = receiver
        guard = HostGuard(allow_private=False)
        self.notifier = WebhookNotifier(clock=FakeClock(), guard=guard, http=http)

    async def fault(self, status: int, **headers: str) -> HubError | None:
        """Give what a delivery raises that is answered so."""
        self.receiver.always = (status, {k.replace("_", "-"): v for k, v in headers.items()})
        try:
            await self.notifier.send(target(self.receiver.url), NOTICE)
        except HubError as error:
            return error
        return None


@pytest.fixture
async def bench() -> AsyncGenerator[Bench]:
    async with receiving() as receiver, AiohttpClient(allow_private=True) as http:
        yield Bench(receiver, http)


def test_the_signature_is_that_of_the_specifications_example() -> None:
    """Source: github.com/standard-webhooks/standard-webhooks, the test vector of its libraries."""
    headers = signed(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


async def test_a_notice_arrives_signed_and_readable(bench: Bench) -> None:
    await bench.notifier.send(target(bench.receiver.url), NOTICE)
    (posted,) = bench.receiver.got
    assert (posted.method, posted.path) == ("POST", "/hook/s3cr3t")
    assert posted.headers["content-type"] == "application/json"
    said: dict[str, Any] = json.loads(posted.body)
    assert said == {
        "type": "server.status",
        "timestamp": "2026-11-21T12:00:00.005000Z",
        "data": {
            "server": "zeit ☃",
            "status": "unreachable",
            "title": "Server zeit ☃: unreachable",
            "text": "refused",
        },
    }
    assert posted.headers["webhook-id"] == NOTICE.id
    stamp = posted.headers["webhook-timestamp"]
    assert stamp == str(int(NEW_YEAR.timestamp()))
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    text = f"{NOTICE.id}.{stamp}.".encode() + posted.body
    expected = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    assert posted.headers["webhook-signature"] == f"v1,{expected}"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (200, None, None),
        (299, None, None),
        (302, UpstreamError, "target_refused"),
        (400, UpstreamError, "target_refused"),
        (410, GoneError, "target_gone"),
        (429, QuotaError, "target_busy"),
        (500, UnavailableError, "target_failed"),
        (503, UnavailableError, "target_failed"),
    ],
)
async def test_every_answer_has_its_meaning(
    bench: Bench, status: int, kind: type[HubError] | None, code: str | None
) -> None:
    error = await bench.fault(status)
    if kind is None:
        assert error is None
    else:
        assert error is not None
        assert type(error) is kind
        assert error.code == code
        assert str(status) in error.message
        assert "s3cr3t" not in error.message


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("17", 17.0),
        ("99999999", 3600.0),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0),
        ("Thu, 01 Jan 2025 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("²", None),
    ],
)
async def test_the_target_may_say_when_to_come_again(
    bench: Bench, given: str, expected: float | None
) -> None:
    for status in (429, 503):
        error = await bench.fault(status, retry_after=given.encode().decode("latin-1"))
        assert error is not None
        assert error.retry_after_s == expected


async def test_a_redirect_is_not_followed(bench: Bench) -> None:
    async with receiving() as other:
        assert await bench.fault(307, location=other.url) is not None
        assert other.connections == 0


async def test_an_address_that_is_not_spoken_to_is_not_connected() -> None:
    async with receiving() as receiver, AiohttpClient(allow_private=False) as http:
        bench = Bench(receiver, http)
        for host in ("127.0.0.1", "localhost"):
            address = f"http://{host}:{receiver.port}/"
            with pytest.raises(EgressDeniedError):
                await bench.notifier.send(target(address), NOTICE)
        assert receiver.connections == 0


async def test_nobody_there_is_a_fault_without_the_address(bench: Bench) -> None:
    with pytest.raises(ConnectFailedError) as refused:
        await bench.notifier.send(target(f"http://127.0.0.1:{free_port()}/s3cr3t"), NOTICE)
    assert "s3cr3t" not in refused.value.message


@pytest.mark.parametrize(
    "address",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "example.com",
        "http://",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://[::1",
        "http://user:pass@example.com/",
        "http://example.com/#x",
        "http://exa mple.com/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fd00:ec2::254]/",
        "http://127.0.0.1/",
        "http://0.0.0.0/",
    ],
)
def test_an_address_that_cannot_be_a_webhook_is_refused(
    checker: WebhookNotifier, address: str
) -> None:
    with pytest.raises(InvalidError) as refused:
        checker.check(target(address))
    assert refused.value.faults[0].loc == ("address",)


@pytest.mark.parametrize(
    "secret",
    ["", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!!", SECRET[6:], "whsec_" + "A" * 92],
)
def test_a_secret_of_another_form_is_refused(checker: WebhookNotifier, secret: str) -> None:
    with pytest.raises(InvalidError) as refused:
        checker.check(target("https://example.com/", secret))
    assert refused.value.faults[0].loc == ("secret",)


def test_a_right_target_is_taken(checker: WebhookNotifier) -> None:
    checker.check(target("https://example.com:8443/a?b=c"))


@pytest.fixture
def checker() -> WebhookNotifier:
    guard = HostGuard(allow_private=False)
    http = AiohttpClient(allow_private=False)
    return WebhookNotifier(clock=FakeClock(), guard=guard, http=http)
