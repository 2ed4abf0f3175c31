from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.entities.catalog.naming import MAX_LENGTH, expose_name

servers = st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True)
names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=128)


def test_a_short_name_is_joined_to_its_server() -> None:
    assert expose_name("time", "get_current_time") == "time__get_current_time"


@given(servers, names)
def test_a_name_fits_and_keeps_its_server_in_front(server: str, name: str) -> None:
    exposed = expose_name(server, name)
    assert len(exposed) <= MAX_LENGTH
    assert exposed.startswith(f"{server}__")


def test_long_names_that_differ_only_at_the_end_stay_different() -> None:
    first, second = expose_name("s", "x" * 100 + "a"), expose_name("s", "x" * 100 + "b")
    assert first != second
    assert len(first) == len(second) == MAX_LENGTH


def test_a_cut_name_is_the_same_in_every_process() -> None:
    assert expose_name("server", "n" * 70) == "server__" + "n" * 47 + "_ddc7b3af"
