"""The guide to the gateway lists every field of a policy as it is, and its examples work."""

import re
import tomllib

from agenthub.domain.entities.resilience.filed import file_layers_of
from tests.architecture.policy_table import rows
from tests.architecture.sources import ROOT

GUIDE = (ROOT / "docs" / "guides" / "gateway.md").read_text()


def test_every_field_is_listed_with_its_default_and_what_it_may_hold() -> None:
    table = GUIDE.partition("| field |")[2]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    assert [tuple(cells[:3]) for cells in lines] == list(rows())
    assert all(len(cells) == 4 and cells[3] for cells in lines)


def test_the_files_that_are_shown_are_valid() -> None:
    [example] = re.findall(r"```toml\n(.*?)```", GUIDE, re.S)
    layers = file_layers_of(tomllib.loads(example)["gateway"])
    assert layers.servers["search"]["price_nano_usd"] == 2_000_000


def test_every_field_that_is_named_elsewhere_exists() -> None:
    known = {field.strip("`") for field, _, _ in rows()}
    text = GUIDE.partition("| field |")[0]
    named = set(re.findall(r"([a-z]+\.[a-z_]+)=", text))
    assert named <= known
