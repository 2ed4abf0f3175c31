"""Apprise is told only what cannot reach what the hub itself would not speak to."""

import json
import re
from pathlib import Path

import pytest
from apprise.manager_plugins import NotificationManager

from agenthub.adapters.outbound.http.host_guard import HostGuard
from agenthub.adapters.outbound.notifier.apprise import (
    BEST_KNOWN,
    HOSTED,
    VENDORS,
    AppriseNotifier,
    scrubbed,
)
from agenthub.domain.entities.notices.target import NoticeTarget, TargetKind
from agenthub.domain.exceptions import InvalidError, UpstreamError
from agenthub.domain.ids import DEFAULT_WORKSPACE, NoticeTargetId
from agenthub.domain.ports.outbound.http import ConnectFailedError, EgressDeniedError
from agenthub.domain.ports.outbound.notifier import Notice
from tests.fakes.clock import NEW_YEAR
from tests.support.receiver import receiving

APP_TOKEN = "AbCdEfGhIjKlMnO"
NOTICE = Notice(
    id="N1-server.status-7",
    at=NEW_YEAR,
    event="server.status",
    facts={},
    title="Server time: unreachable",
    body="refused",
)


def target(address: str, secret: str = "") -> NoticeTarget:
    return NoticeTarget(
        id=NoticeTargetId("N1"),
        workspace=DEFAULT_WORKSPACE,
        name="chat",
        kind=TargetKind.APPRISE,
        address=address,
        secret=secret,
        created_at=NEW_YEAR,
        updated_at=NEW_YEAR,
    )


def notifier(*, allow_private: bool) -> AppriseNotifier:
    return AppriseNotifier(guard=HostGuard(allow_private=allow_private))


async def test_a_notice_reaches_a_service_at_the_address_given() -> None:
    async with receiving() as receiver:
        receiver.always = (200, {})
        address = f"gotify://127.0.0.1:{receiver.port}/{APP_TOKEN}"
        await notifier(allow_private=True).send(target(address), NOTICE)
        (posted,) = receiver.got
        assert json.loads(posted.body)["title"] == NOTICE.title
        assert "refused" in json.loads(posted.body)["message"]


async def test_a_service_that_refuses_is_a_fault_without_secrets() -> None:
    async with receiving() as receiver:
        receiver.always = (401, {})
        address = f"gotify://127.0.0.1:{receiver.port}/{APP_TOKEN}"
        with pytest.raises(UpstreamError) as refused:
            await notifier(allow_private=True).send(target(address), NOTICE)
        assert refused.value.code == "target_refused"
        assert APP_TOKEN not in refused.value.message


async def test_a_redirect_is_not_followed() -> None:
    async with receiving() as receiver, receiving() as other:
        receiver.always = (307, {"location": other.url})
        address = f"gotify://127.0.0.1:{receiver.port}/{APP_TOKEN}"
        with pytest.raises(UpstreamError):
            await notifier(allow_private=True).send(target(address), NOTICE)
        assert (len(receiver.got), other.connections) == (1, 0)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "169.254.169.254", "10.0.0.1"]
)
async def test_a_host_that_the_hub_does_not_speak_to_is_not_connected(host: str) -> None:
    async with receiving() as receiver:
        for address in (
            f"gotify://{host}:{receiver.port}/{APP_TOKEN}",
            f"mailto://user:pass@example.com:{receiver.port}?smtp={host}",
        ):
            if host == "[::1]" and "smtp" in address:
                continue
            with pytest.raises((EgressDeniedError, ConnectFailedError)) as refused:
                await notifier(allow_private=False).send(target(address), NOTICE)
            assert host == "[::1]" or isinstance(refused.value, EgressDeniedError)
        assert receiver.connections == 0


async def test_metadata_addresses_are_refused_also_where_private_ones_are_allowed() -> None:
    address = f"gotify://169.254.169.254/{APP_TOKEN}"
    with pytest.raises(EgressDeniedError):
        await notifier(allow_private=True).send(target(address), NOTICE)


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "exec://rm",
        "syslog://",
        "dbus://",
        "gnome://",
        "windows://",
        "macosx://",
        "json://example.com",
        "xml://example.com",
        "form://example.com",
        "apprise://example.com/token",
        "rsyslog://example.com",
        "smpp://u:p@example.com",
        "https://hooks.slack.com/services/a/b/c",
        "zulip://bot@org.example.com/token",
        "gotify",
        "gotify://",
        "://x",
        f"gotify://example.com/{APP_TOKEN}?redirect=yes",
        f"gotify://example.com/{APP_TOKEN}?a=b&Redirect=yes",
        f"gotify://example.com/{APP_TOKEN}?%72edirect=yes",
        "mailto://u:p@example.com?pgpkey=/etc/passwd",
        "mailtos://u:p@example.com?verify=no",
        "mailto://u:p@example.com?rto=100000",
    ],
)
def test_what_is_no_mail_chat_or_push_is_refused(address: str) -> None:
    with pytest.raises(InvalidError) as refused:
        notifier(allow_private=True).check(target(address))
    assert refused.value.faults[0].loc == ("address",)


def test_a_secret_is_for_webhooks_only() -> None:
    with pytest.raises(InvalidError):
        notifier(allow_private=True).check(target("slack://a/b/c", "whsec_x"))


async def test_an_address_that_lacks_something_is_a_fault_of_the_field() -> None:
    with pytest.raises(InvalidError) as refused:
        await notifier(allow_private=True).send(target("slack://nothing"), NOTICE)
    assert refused.value.faults[0].loc == ("address",)


async def test_every_service_of_the_list_is_one_that_apprise_knows() -> None:
    known = NotificationManager()
    assert [scheme for scheme in sorted(VENDORS | HOSTED) if scheme not in known] == []
    vendors = [scheme for scheme in sorted(VENDORS) if "{host}" in str(known[scheme].templates)]
    assert vendors == ["mailgun"]  # the mail domain, not whom it connects to


def test_parts_of_the_address_are_taken_out_of_texts() -> None:
    address = "mailto://someone:hunter22@example.com/to@other.org?name=x"
    text = "Login of someone with HUNTER22 at example.com:\n failed for to@other.org."
    assert scrubbed(text, address) == "Login of *** with *** at ***: failed for to@***"


def test_an_unknown_service_is_refused_in_short_with_webhooks_first() -> None:
    with pytest.raises(InvalidError) as refused:
        notifier(allow_private=True).check(target("carrier-pigeon://coop"))
    (fault,) = refused.value.faults
    assert fault.message.startswith("must begin with https:// or http:// (a webhook)")
    assert "docs/guides/notifications.md" in fault.message
    assert len(fault.message) < 300


def test_the_guide_lists_every_service() -> None:
    guide = Path(__file__).parents[5] / "docs" / "guides" / "notifications.md"
    listed = guide.read_text().partition("begins with one of ")[2].partition("://")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == VENDORS | HOSTED
    assert set(BEST_KNOWN) <= VENDORS | HOSTED
