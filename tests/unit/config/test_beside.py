"""What commands beside the hub find, whatever is wrong with `agenthub.toml`."""

from pathlib import Path

import pytest

from agenthub.config import beside

FAULTY = ['[gateway]\ntimeout_s = "abc"\n', "gateway = [", '[log]\nlevel = "loud"\n', "x = 1\n"]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGENTHUB_DATA_DIR", "AGENTHUB_OWNER_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("text", FAULTY)
def test_a_fault_of_the_file_hides_no_token(tmp_path: Path, text: str) -> None:
    (tmp_path / "agenthub.toml").write_text(text)
    (tmp_path / "owner-token").write_text("kept\n")
    assert beside.owner_token_of(tmp_path) == "kept"
    assert len(beside.setting_faults(tmp_path)) == 1


def test_the_environment_wins_over_the_file_and_the_file_over_the_kept_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner-token").write_text("kept\n")
    (tmp_path / "agenthub.toml").write_text('owner_token = "filed"\n[log]\nlevel = "loud"\n')
    assert beside.owner_token_of(tmp_path) == "filed"
    monkeypatch.setenv("AGENTHUB_OWNER_TOKEN", "given")
    monkeypatch.setenv("AGENTHUB_DATA_DIR", str(tmp_path))
    assert beside.owner_token_of(None) == "given"
    assert beside.folder_of(None) == tmp_path


def test_faults_are_told_as_serve_tells_them(tmp_path: Path) -> None:
    assert beside.setting_faults(tmp_path) == []
    (tmp_path / "agenthub.toml").write_text('[gateway]\ntimeout_s = "abc"\n')
    (told,) = beside.setting_faults(tmp_path)
    assert told.startswith("setting gateway.timeout_s: ")
    (tmp_path / "agenthub.toml").write_text("gateway = [")
    assert beside.setting_faults(tmp_path)[0].startswith("agenthub.toml is no TOML: ")


def test_without_any_token_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        beside.owner_token_of(tmp_path)
