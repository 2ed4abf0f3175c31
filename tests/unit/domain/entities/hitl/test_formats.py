"""What is a date, a time, an address and a URI, as their standards and another library say."""

import string
from datetime import date
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agenthub.domain.entities.hitl.formats import FORMATS

# Of the JSON Schema Test Suite (draft 2020-12, optional/format), and the borders of the RFCs.
GOOD = {
    "date": ["1963-06-19", "2020-02-29", "0001-01-01", "9999-12-31"],
    "date-time": [
        "1963-06-19T08:30:06.283185Z",
        "1963-06-19T08:30:06Z",
        "1937-01-01T12:00:27.87+00:20",
        "1990-12-31T15:59:50.123-08:00",
        "1998-12-31T23:59:60Z",
        "1998-12-31T15:59:60.123-08:00",
        "1963-06-19t08:30:06.283185z",
        "2020-01-01T00:29:60+00:30",
    ],
    "email": [
        "joe.bloggs@example.com",
        "te~st@example.com",
        "~test@example.com",
        "test~@example.com",
        "te.s.t@example.com",
        '"joe bloggs"@example.com',
        '"joe..bloggs"@example.com',
        '"joe@bloggs"@example.com',
        '"joe\\"bloggs"@example.com',
        "joe.bloggs@[127.0.0.1]",
        "joe.bloggs@[IPv6:::1]",
        "a@b",
        f"{'a' * 64}@{'b' * 63}.de",
    ],
    "uri": [
        "http://foo.bar/?baz=qux#quux",
        "http://foo.com/blah_(wikipedia)_blah#cite-1",
        "http://foo.bar/?q=Test%20URL-encoded%20stuff",
        "http://xn--nw2a.xn--j6w193g/",
        "http://-.~_!$&'()*+,;=:%40:80%2f::::::@example.com",
        "http://223.255.255.254",
        "ftp://ftp.is.co.za/rfc/rfc1808.txt",
        "http://www.ietf.org/rfc/rfc2396.txt",
        "ldap://[2001:db8::7]/c=GB?objectClass?one",
        "http://[v1.fe80::a+en1]/",
        "mailto:John.Doe@example.com",
        "news:comp.infosystems.www.servers.unix",
        "tel:+1-816-555-1212",
        "urn:oasis:names:specification:docbook:dtd:xml:4.1.2",
        "file:///etc/hosts",
    ],
}
BAD = {
    "date": [
        "06/19/1963",
        "2013-350",
        "1998-1-20",
        "1998-01-1",
        "1998-13-01",
        "1998-04-31",
        "2021-02-29",
        "1963-06-1৪",
        "20230328",
        "2023-W13-2",
        " 1963-06-19",
        "1963-06-19\n",
        "",
    ],
    "date-time": [
        "1998-12-31T23:59:61Z",
        "1998-12-31T23:58:60Z",
        "1998-12-31T22:59:60Z",
        "1990-02-31T15:59:59.123-08:00",
        "1990-12-31T15:59:59-24:00",
        "1963-06-19T08:30:06.28123+01:00Z",
        "1990-12-31T24:00:00Z",
        "1990-12-31T10:60:00Z",
        "1990-12-31T10:00:00+00:60",
        "06/19/1963 08:30:06 PST",
        "2013-350T01:01:01",
        "1963-6-19T08:30:06.283185Z",
        "1963-06-1T00:00:00Z",
        "1963-06-1৪T00:00:00Z",
        "1963-06-11T0৪:00:00Z",
        "1963-06-19T08:30:06",
        "1963-06-19 08:30:06Z",
        "1963-06-19T08:30:06.Z",
        "1963-06-19T08:30:06Z\n",
    ],
    "email": [
        "2962",
        ".test@example.com",
        "test.@example.com",
        "te..st@example.com",
        "joe.bloggs@invalid=domain.com",
        "joe.bloggs@[127.0.0.300]",
        "joe.bloggs@[IPv6:fe80::1%eth0]",
        "joe bloggs@example.com",
        "@example.com",
        "joe@",
        "joe@-a.com",
        "joe@a-.com",
        "joe@a..com",
        "jö@example.com",
        "joe@exämple.com",
        "joe@example.com\n",
        f"{'a' * 65}@b.de",
        f"a@{'b' * 64}.de",
        f"a@{'b.' * 127}bb",
    ],
    "uri": [
        "//foo.bar/?baz=qux#quux",
        "/abc",
        "\\\\WINDOWS\\fileshare",
        "abc",
        "",
        "1a:b",
        "http:// shouldfail.com",
        ":// should fail",
        "bar,baz:foo",
        "https://[@example.org/test.txt",
        "https://example.org/foobar\\.txt",
        "https://example.org/foobar<>.txt",
        "https://example.org/foobar{}.txt",
        "https://example.org/foobar^.txt",
        "https://example.org/foobar`.txt",
        "https://example.org/foo bar.txt",
        "https://example.org/foobar|.txt",
        "https://example.org:8a/",
        "https://[::1",
        "https://[fe80::1%25eth0]/",
        "https://a/%zz",
        "https://ä.de/",
        "urn:x\n",
    ],
}


@pytest.mark.parametrize(("name", "text"), [(k, v) for k, vs in GOOD.items() for v in vs])
def test_this_is_one(name: str, text: str) -> None:
    assert FORMATS[name](text)


@pytest.mark.parametrize(("name", "text"), [(k, v) for k, vs in BAD.items() for v in vs])
def test_this_is_none(name: str, text: str) -> None:
    assert not FORMATS[name](text)


_REFERENCE = {
    name: jsonschema_rs.validator_for(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "format": name},
        validate_formats=True,
    )
    for name in FORMATS
}


def _nearly(name: str, signs: str) -> st.SearchStrategy[str]:
    """Good ones with up to three signs put in, replaced or taken out."""
    change = st.tuples(st.integers(0, 60), st.integers(0, 1), st.text(signs, max_size=1))

    def changed(text: str, changes: list[tuple[int, int, str]]) -> str:
        for place, taken, sign in changes:
            at = min(place, len(text))
            text = text[:at] + sign + text[at + taken :]
        return text

    return st.builds(changed, st.sampled_from(GOOD[name]), st.lists(change, max_size=3))


@given(_nearly("uri", string.ascii_letters + string.digits + string.punctuation + " é"))
def test_a_uri_is_one_for_another_library_too(text: str) -> None:
    assert FORMATS["uri"](text) == _REFERENCE["uri"].is_valid(text)


# The library reads signs beside the digits, such as "/", as digits; none of them is drawn.
@given(_nearly("date-time", string.digits + "TtZz: "))
@example("1998-12-31T23:59:60Z")
def test_a_date_time_is_one_for_another_library_too(text: str) -> None:
    expected = _REFERENCE["date-time"].is_valid(text) and text[:4] != "0000"
    assert FORMATS["date-time"](text) == expected


# Of quoted local parts the library refuses some that RFC 5321, 4.1.2 has; see GOOD for them.
@given(_nearly("email", string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~.@[]:(),<> é"))
def test_an_address_is_one_for_another_library_too(text: str) -> None:
    if '"' not in text:
        assert FORMATS["email"](text) == _REFERENCE["email"].is_valid(text)


@given(st.dates())
def test_every_day_of_the_calendar_is_a_date(day: date) -> None:
    assert FORMATS["date"](day.isoformat())
    assert FORMATS["date-time"](f"{day.isoformat()}T00:00:00Z")


@given(st.text(), st.sampled_from(sorted(FORMATS)))
def test_no_text_whatsoever_breaks_a_format(text: str, name: str) -> None:
    verdict: Any = FORMATS[name](text)
    assert isinstance(verdict, bool)


@pytest.mark.parametrize(
    ("name", "part"),
    [("email", "a."), ("email", "-"), ("email", '"\\'), ("uri", "a:%"), ("date-time", "1")],
)
def test_a_hostile_text_takes_no_time(name: str, part: str) -> None:
    begin = {"uri": "a://", "date-time": "1998-12-31T23:59:59."}.get(name, "")

    assert not FORMATS[name](begin + part * 50_000 + "\n")
    assert not FORMATS[name]("a@" + part * 50_000 + "\n")
