"""What is printed when the hub is ready."""

from pathlib import Path

from agenthub.config.banner import banner
from agenthub.config.beside import default_folder

ADDRESS = "http://127.0.0.1:8000"


def test_commands_name_a_folder_that_is_not_the_default_one() -> None:
    told = banner(ADDRESS, "token", Path("/srv/my hub"))
    assert "--data-dir '/srv/my hub' call demo__greet" in told
    assert "--data-dir '/srv/my hub' add my-server" in told


def test_the_default_folder_is_not_named() -> None:
    assert "--data-dir" not in banner(ADDRESS, "token", default_folder())
