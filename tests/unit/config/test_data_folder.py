import stat
from pathlib import Path

import pytest

from agenthub.config import data_folder


def test_an_owner_token_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    first = data_folder.owner_token(tmp_path, None)
    assert data_folder.owner_token(tmp_path, None) == first
    mode = stat.S_IMODE((tmp_path / data_folder.TOKEN_FILE).stat().st_mode)
    assert mode == 0o600
    assert len(first) > 40


def test_a_given_owner_token_is_not_kept(tmp_path: Path) -> None:
    assert data_folder.owner_token(tmp_path, "given") == "given"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_held_by_one_hub_at_a_time(tmp_path: Path) -> None:
    data_folder.write_address(tmp_path, "http://127.0.0.1:7777")
    with (
        data_folder.locked(tmp_path),
        pytest.raises(data_folder.FolderInUseError, match="7777"),
        data_folder.locked(tmp_path),
    ):
        pass
    with data_folder.locked(tmp_path):
        pass


def test_an_address_is_found_while_it_stands(tmp_path: Path) -> None:
    data_folder.write_address(tmp_path, "http://127.0.0.1:7777")
    assert data_folder.read_address(tmp_path) == "http://127.0.0.1:7777"
    data_folder.forget_address(tmp_path)
    assert data_folder.read_address(tmp_path) == data_folder.DEFAULT_ADDRESS


@pytest.mark.parametrize("content", ["", "[]", "{}", "{", '{"other": 1}'])
def test_a_broken_address_file_is_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / data_folder.ADDRESS_FILE).write_text(content)
    assert data_folder.read_address(tmp_path) == data_folder.DEFAULT_ADDRESS
