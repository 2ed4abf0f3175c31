"""Words against names, titles and descriptions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.entities.catalog.ranking import Described, score

ADD = Described("math__addNumbers", "Adding", "Computes the sum of two numbers.")


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("add", 1.0),
        ("NUMBERS add", 1.0),
        ("math", 1.0),
        ("adding", 2 / 3),
        ("computes", 1 / 3),
        ("add computes", 2 / 3),
        ("num", 0.6),
        ("comp", 0.2),
        ("nu", 0.0),
        ("weather", 0.0),
        ("", 0.0),
        ("?!_", 0.0),
    ],
)
def test_a_word_counts_most_in_the_name(query: str, wanted: float) -> None:
    assert score(query, ADD) == pytest.approx(wanted, abs=1e-4)


@given(query=st.text(), name=st.text(), title=st.text(), description=st.text())
def test_a_score_is_a_share(query: str, name: str, title: str, description: str) -> None:
    assert 0 <= score(query, Described(name, title, description)) <= 1
