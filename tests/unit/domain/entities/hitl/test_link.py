"""Links: what nobody should open, where the rest lead, and what a person is warned of."""

from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.entities.hitl.link import MAX_URL_LENGTH, check_link
from agenthub.domain.exceptions import InvalidError


def test_a_plain_link_is_shown_as_it_is() -> None:
    url = "https://login.example.com/start?a=%20b&c=d#e"

    link = check_link(url)

    assert (link.host, link.url, link.warnings) == ("login.example.com", url, ())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "javascript:alert(1)",
        "JavaScript://example.com/%0aalert(1)",
        "data:text/html,hello",
        "file:///etc/passwd",
        "ftp://example.com/",
        "vscode://example.com/",
        "view-source:https://example.com",
        "https:",
        "https://",
        "https:///example.com",
        "https:example.com",
        "https://?a",
        "https://:443/",
        "https://user@/",
        "https://example.com\\@evil.com/",
        "https:\\\\example.com",
        " https://example.com",
        "https://example.com/a b",
        "https://exam\tple.com",
        "https://example.com/\n",
        "https://example.com/\x00",
        "https://example.com/\x7f",
        "https://example.com/\u202egpj.exe",
        "https://exa\u200bmple.com",
        "https://exa\u00admple.com",
        "https://example.com/\ud800",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:8a/",
        "https://example..com/",
        "https://.example.com/",
        "https://exam%70le.com/",
        "https://exam_ple!.com/",
        "https://exam[ple.com/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://[v1.a]/",
        "https://2130706433/",
        "https://0x7f.0.0.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://1.2.3.4.5/",
        "https://example.0x/",
        "https://1.2.3.256/",
        "https://１２７.0.0.1/",
        "https://ｅxample.com/",
        "https://example。com/",
        "https://example．com/",
        "https://ex℀mple.com/",
        "https://xn--a\u00e4/",
        "https://\u00e4<b>/",
        f"https://{'a' * 59}\u00e4.com/",
        "https://xn--example-.com/",
        "https://xn--\u00df/",
        "https://xn--99999999/",
        f"https://{'a' * 64}.com/",
        f"https://{'a.' * 130}com/",
        "https://example.com/" + "a" * MAX_URL_LENGTH,
    ],
)
def test_what_nobody_should_open_is_refused(url: str) -> None:
    with pytest.raises(InvalidError) as caught:
        check_link(url)

    assert caught.value.code == "link_refused"


@pytest.mark.parametrize(
    ("url", "host", "shown", "count"),
    [
        ("http://example.com/", "example.com", "http://example.com/", 1),
        ("HTTPS://Example.COM/A", "example.com", "https://example.com/A", 0),
        ("https://example.com.", "example.com", "https://example.com", 0),
        ("https://example.com:443/", "example.com", "https://example.com:443/", 0),
        ("http://example.com:80/", "example.com", "http://example.com:80/", 1),
        ("https://example.com:8443/", "example.com", "https://example.com:8443/", 1),
        ("https://a.com@evil.com/", "evil.com", "https://a.com@evil.com/", 1),
        ("https://a:b@c@evil.com/", "evil.com", "https://a:b@c@evil.com/", 1),
        ("https://8.8.8.8/", "8.8.8.8", "https://8.8.8.8/", 1),
        ("https://[2606:4700::1]:443/", "2606:4700::1", "https://[2606:4700::1]:443/", 1),
        ("https://127.0.0.1/", "127.0.0.1", "https://127.0.0.1/", 2),
        ("https://192.168.1.1/", "192.168.1.1", "https://192.168.1.1/", 2),
        ("https://169.254.169.254/", "169.254.169.254", "https://169.254.169.254/", 2),
        ("https://[::1]/", "::1", "https://[::1]/", 2),
        ("https://localhost/", "localhost", "https://localhost/", 1),
        ("https://router.local/", "router.local", "https://router.local/", 1),
        ("https://müller.de/ö", "xn--mller-kva.de", "https://xn--mller-kva.de/%C3%B6", 1),
        ("https://xn--mller-kva.de/", "xn--mller-kva.de", "https://xn--mller-kva.de/", 1),
        ("https://例え.jp/", "xn--r8jz45g.jp", "https://xn--r8jz45g.jp/", 1),
        ("https://аррӏе.com/", "xn--80ak6aa92e.com", "https://xn--80ak6aa92e.com/", 1),
        ("https://pаypal.com/", "xn--pypal-4ve.com", "https://xn--pypal-4ve.com/", 2),
        ("https://xn--pypal-4ve.com/", "xn--pypal-4ve.com", "https://xn--pypal-4ve.com/", 2),
        ('https://a.de/"<b>`', "a.de", "https://a.de/%22%3Cb%3E%60", 0),
    ],
)
def test_where_it_leads_is_shown_and_what_is_odd_is_warned_of(
    url: str, host: str, shown: str, count: int
) -> None:
    link = check_link(url)

    assert (link.host, link.url) == (host, shown)
    assert len(link.warnings) == count


def test_what_a_foreign_host_looks_like_is_said() -> None:
    (warning,) = check_link("https://xn--mller-kva.de/").warnings

    assert "müller.de" in warning
    assert "xn--mller-kva.de" in warning


_pieces = st.sampled_from(
    [
        "https://",
        "http:",
        "//",
        "/",
        "@",
        ":",
        "a",
        ".com",
        "xn--",
        "[",
        "]",
        "::1",
        "?",
        "#",
        "%41",
        "ä",
        "а",
        "。",
        "127.0.0.1",
        "0x7f",
        "\\",
        " ",
        "user",
        ":80",
        "..",
        "İ",
        "K",
        "ß",
    ]
)


@given(st.one_of(st.lists(_pieces, max_size=8).map("".join), st.text()))
def test_no_text_whatsoever_leads_elsewhere_than_shown(text: str) -> None:
    for url in (text, f"https://{text}"):
        with suppress(InvalidError):
            link = check_link(url)
            assert link.url.isascii()
            assert link.url.isprintable()
            assert urlsplit(link.url).hostname == link.host
            again = check_link(link.url)
            assert (again.host, again.url) == (link.host, link.url)
