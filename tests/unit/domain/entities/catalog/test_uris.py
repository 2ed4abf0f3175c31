import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.entities.catalog.uris import expose_uri, split_uri

servers = st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True)


@pytest.mark.parametrize(
    ("uri", "exposed"),
    [
        ("demo://notes/1", "time+demo://notes/1"),
        ("file:///a+b?c=1#d", "time+file:///a+b?c=1#d"),
        ("demo://notes/{name}{?q}", "time+demo://notes/{name}{?q}"),
        ("no-scheme", "time+no-scheme"),
        ("ui://card/view.html", "ui://time/card/view.html"),
        ("UI://card", "ui://time/card"),
    ],
)
def test_a_uri_is_exposed_under_its_server(uri: str, exposed: str) -> None:
    assert expose_uri("time", uri) == exposed


@given(servers, st.text(min_size=1, max_size=60).filter(lambda u: u[:5].lower() != "ui://"))
def test_every_uri_leads_back(server: str, uri: str) -> None:
    assert split_uri(expose_uri(server, uri)) == (server, uri)


@given(servers, st.text(max_size=60))
def test_every_ui_uri_leads_back(server: str, rest: str) -> None:
    assert split_uri(expose_uri(server, f"ui://{rest}")) == (server, f"ui://{rest}")


@pytest.mark.parametrize("foreign", ["", "demo://x", "+demo://x", "ui://", "ui:///x", "ui://x"])
def test_what_no_server_can_have_given_leads_nowhere(foreign: str) -> None:
    assert split_uri(foreign) is None
