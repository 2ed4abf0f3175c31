"""Mail, chat and push, by Apprise (https://github.com/caronc/apprise)."""

import asyncio
import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

from agenthub.domain.entities.notices.target import NoticeTarget, TargetKind
from agenthub.domain.exceptions import InvalidError, TimedOutError, UpstreamError
from agenthub.domain.ports.outbound.http import EgressGuard
from agenthub.domain.ports.outbound.notifier import Notice, Notifier

VENDORS = frozenset(
    {
        "brevo",
        "discord",
        "gchat",
        "join",
        "line",
        "mailgun",
        "opsgenie",
        "pagerduty",
        "pbul",
        "postmark",
        "pover",
        "prowl",
        "pushy",
        "resend",
        "sendgrid",
        "simplepush",
        "slack",
        "tgram",
        "threema",
        "twilio",
        "webex",
        "whatsapp",
        "wxteams",
    }
)
"""Services at an address of their makers', which a target cannot choose."""

HOSTED = frozenset(
    {
        "gotify",
        "gotifys",
        "mailto",
        "mailtos",
        "mastodon",
        "mastodons",
        "matrix",
        "matrixs",
        "mmost",
        "mmosts",
        "ncloud",
        "nclouds",
        "nctalk",
        "nctalks",
        "ntfy",
        "ntfys",
        "rocket",
        "rockets",
        "signal",
        "signals",
        "synology",
        "synologys",
        "workflow",
        "workflows",
    }
)
"""Services whose host stands in the address, so that the egress rule must be asked."""

BEST_KNOWN = (
    *("mailto", "slack", "discord", "tgram", "matrix"),
    *("ntfy", "gotify", "pagerduty", "opsgenie", "twilio"),
)
_UNKNOWN = (
    "must begin with https:// or http:// (a webhook), or with a service's name and ://, such as "
    f"{', '.join(BEST_KNOWN)}; for all of them see docs/guides/notifications.md"
)

DENIED_OPTIONS = frozenset(
    {"attach", "config", "cto", "pgp", "pgpkey", "redirect", "rto", "verify"}
)
"""Options that read files, follow redirects, weaken TLS or wait for ever."""

TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 15.0
MAX_THREADS = 4
MAX_REASON_CHARS = 300
HIDDEN_FROM_CHARS = 4
"""Parts of an address that are so long are not shown."""


class AppriseNotifier(Notifier):
    """Knows a fixed list of Apprise's services: none that runs something on this machine.

    Apprise makes its own connections, so the egress rule is asked before each notice. It has
    threads of its own: one that hangs holds up no look-up of a name and no other part of the hub.
    """

    kind = TargetKind.APPRISE

    def __init__(self, *, guard: EgressGuard) -> None:
        self._guard = guard
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="apprise")

    def check(self, target: NoticeTarget) -> None:
        scheme, _, rest = target.address.partition("://")
        if scheme.lower() not in VENDORS | HOSTED or not rest:
            raise InvalidError.at("address", message=_UNKNOWN)
        options = re.findall(r"[?&;]([^=&;]*)=?", f"{rest} {unquote(rest)}")
        denied = next((one for one in options if one.strip().lower() in DENIED_OPTIONS), None)
        if denied is not None:
            raise InvalidError.at("address", message=f"must not hold the option {denied!r}")
        if target.secret:
            raise InvalidError.at("secret", message="is for webhooks only")

    async def send(self, target: NoticeTarget, notice: Notice) -> None:
        self.check(target)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._send(target, notice)
        except TimeoutError as error:
            service = target.address.partition("://")[0]
            raise TimedOutError(
                f"{service} did not take the notice in time.", code="target_timeout"
            ) from error

    async def _send(self, target: NoticeTarget, notice: Notice) -> None:
        loop = asyncio.get_running_loop()
        service = await loop.run_in_executor(self._threads, _made, target.address)
        host = _host_of(service)
        if host is not None:
            await self._guard.check(host)
        fault = await loop.run_in_executor(self._threads, _told, service, notice)
        if fault is not None:
            name = target.address.partition("://")[0]
            why = f": {scrubbed(fault, target.address)}" if fault else ""
            raise UpstreamError(f"{name} did not take the notice{why}.", code="target_refused")


def scrubbed(text: str, address: str) -> str:
    """Take out of a text whatever stands in the address, and cut it."""
    parts = re.split(r"[^\w.+~-]+", address.partition("://")[2])
    for part in sorted(set(parts), key=len, reverse=True):
        if len(part) >= HIDDEN_FROM_CHARS:
            text = re.sub(re.escape(part), "***", text, flags=re.IGNORECASE)
    return " ".join(text.split())[:MAX_REASON_CHARS].rstrip(".")


def _made(address: str) -> Any:
    """Make Apprise's object for an address. Raises InvalidError.

    The library is loaded here, in a thread: it takes a good part of a second.
    """
    import apprise  # noqa: PLC0415

    asset = apprise.AppriseAsset(
        app_id="AgentHub", app_desc="AgentHub", http_redirects=False, storage_mode="memory"
    )
    make: Any = apprise.Apprise.instantiate  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    service: Any = make(address, asset=asset)
    if not service:
        raise InvalidError.at("address", message="is not complete; see Apprise's documentation")
    service.redirects = False
    service.socket_connect_timeout = CONNECT_TIMEOUT_S
    service.socket_read_timeout = READ_TIMEOUT_S
    if hasattr(service, "discovery"):
        service.discovery = False  # Matrix: a host would name another one
    return service


def _host_of(service: Any) -> str | None:
    """Say whom Apprise is going to connect to; None for a maker's own address."""
    if not HOSTED.intersection(_schemes(service)) or getattr(service, "mode", "") == "cloud":
        return None
    host: Any = getattr(service, "smtp_host", None) or service.host
    return str(host)


def _schemes(service: Any) -> set[str]:
    found: set[str] = set()
    for given in (service.protocol, service.secure_protocol):
        found |= {given} if isinstance(given, str) else set(given or ())
    return found


def _told(service: Any, notice: Notice) -> str | None:
    """Send it; give what Apprise complained of when that failed."""
    ears = _Ears()
    logger = logging.getLogger("apprise")
    logger.addHandler(ears)
    try:
        is_taken = service.notify(title=notice.title, body=notice.body)
    except Exception as error:  # noqa: BLE001 (a plugin's own fault; its text may hold secrets)
        return type(error).__name__
    finally:
        logger.removeHandler(ears)
    return None if is_taken else " ".join(ears.heard)


class _Ears(logging.Handler):
    """Hears what is logged in this thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.heard.append(record.getMessage())
