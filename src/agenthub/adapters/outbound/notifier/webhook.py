"""Webhooks as the Standard Webhooks specification (1.0) has them: signed, and verifiable."""

import base64
import binascii
import hashlib
import hmac
import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from agenthub.domain.entities.notices.target import NoticeTarget, TargetKind
from agenthub.domain.exceptions import (
    GoneError,
    HubError,
    InvalidError,
    QuotaError,
    TimedOutError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.http import EgressGuard, HttpClient, HttpResponse
from agenthub.domain.ports.outbound.notifier import Notice, Notifier

TIMEOUT_S = 15.0
SECRET_PREFIX = "whsec_"  # noqa: S105  what every secret begins with
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64
MAX_RETRY_AFTER_S = 3_600.0


class WebhookNotifier(Notifier):
    """Posts `{"type", "timestamp", "data"}`. Any 2xx is delivered; redirects are not followed."""

    kind = TargetKind.WEBHOOK

    def __init__(self, *, clock: Clock, guard: EgressGuard, http: HttpClient) -> None:
        self._clock = clock
        self._guard = guard
        self._http = http

    def check(self, target: NoticeTarget) -> None:
        host = _host_of(target.address)
        reason = self._guard.refusal(host)
        if reason is not None:
            raise InvalidError.at("address", message=reason, code="egress_denied")
        key_of(target.secret)

    async def send(self, target: NoticeTarget, notice: Notice) -> None:
        body = body_of(notice)
        now = self._clock.now()
        headers = {
            "content-type": "application/json",
            **signed(target.secret, notice.id, int(now.timestamp()), body),
        }
        host = _host_of(target.address)
        try:
            async with self._http.request(
                "POST", target.address, headers=headers, body=body, timeout_s=TIMEOUT_S
            ) as response:
                _judge(response, host, now)
        except TimedOutError as error:
            raise TimedOutError(f"{host} did not answer in time.", code="target_timeout") from error


def key_of(secret: str) -> bytes:
    """Read a secret `whsec_<base64>`. Raises InvalidError."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    is_sized = MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES
    if not secret.startswith(SECRET_PREFIX) or not is_sized:
        raise InvalidError.at(
            "secret", message="must be whsec_ and 24 to 64 bytes in base64", code="invalid_target"
        )
    return key


def signed(secret: str, notice_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Make the headers that prove whose the body is, and when it was sent."""
    text = f"{notice_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key_of(secret), text, hashlib.sha256).digest())
    return {
        "webhook-id": notice_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature.decode()}",
    }


def body_of(notice: Notice) -> bytes:
    """Write a notice as JSON; `title` and `text` say the same for a person."""
    said = {
        "type": notice.event,
        "timestamp": notice.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": {**notice.facts, "title": notice.title, "text": notice.body},
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def _host_of(address: str) -> str:
    """Give the host. Raises InvalidError for what is no plain http or https address."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidError.at("address", message=f"is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host or port == 0 or " " in address:
        raise InvalidError.at("address", message="must be an http or https URL")
    if parts.username is not None or parts.fragment:
        raise InvalidError.at("address", message="must not hold a user, password or fragment")
    return host


def _judge(response: HttpResponse, host: str, now: datetime) -> None:
    """Raise for every answer that is no 2xx."""
    status = response.status
    if 200 <= status < 300:
        return
    says = f"{host} answered with {status}"
    error: HubError
    wait_s = _retry_after_s(response.headers.get("retry-after"), now)
    if status == 410:
        error = GoneError(f"{says}: it wants no more notices.", code="target_gone")
    elif status == 429:
        error = QuotaError(f"{says}.", code="target_busy", retry_after_s=wait_s)
    elif status >= 500:
        error = UnavailableError(f"{says}.", code="target_failed", retry_after_s=wait_s)
    elif 300 <= status < 400:
        error = UpstreamError(f"{says}; redirects are not followed.", code="target_refused")
    else:
        error = UpstreamError(f"{says}.", code="target_refused", retry_after_s=wait_s)
    raise error


def _retry_after_s(given: str | None, now: datetime) -> float | None:
    """Read Retry-After: seconds or an HTTP date, an hour at most."""
    if given is None:
        return None
    try:
        wait_s = float(int(given)) if given.isdigit() else _seconds_until(given, now)
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, wait_s), MAX_RETRY_AFTER_S)


def _seconds_until(date: str, now: datetime) -> float:
    moment = parsedate_to_datetime(date)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()
