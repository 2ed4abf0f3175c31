"""What a command beside the hub needs: found without the settings, which may have a fault."""

import os
import tomllib
from pathlib import Path

import platformdirs

from agenthub.config import data_folder


def default_folder() -> Path:
    """Give the data folder of those who name none."""
    return Path(platformdirs.user_data_dir("agenthub")).absolute()


def folder_of(given: Path | None) -> Path:
    """Give the data folder, as `load_settings` would."""
    return Path(given or os.environ.get("AGENTHUB_DATA_DIR") or default_folder()).absolute()


def owner_token_of(given: Path | None) -> str:
    """Read the owner token. Raises OSError where there is none."""
    folder = folder_of(given)
    set_token = os.environ.get("AGENTHUB_OWNER_TOKEN") or _filed_token(folder)
    return set_token or (folder / data_folder.TOKEN_FILE).read_text("utf-8").strip()


def setting_faults(given: Path | None) -> list[str]:
    """Say what is wrong with `agenthub.toml`, in the words with which `serve` refuses it."""
    folder = folder_of(given)
    if not (folder / data_folder.CONFIG_FILE).exists():
        return []
    # Only one command asks this, and the settings take long to import.
    from agenthub.config.settings import SETTINGS_ERRORS, faults_of, load_settings  # noqa: PLC0415

    try:
        load_settings(data_dir=folder)
    except SETTINGS_ERRORS as error:
        return faults_of(error)
    return []


def _filed_token(folder: Path) -> str:
    """Read the token of `agenthub.toml`, whatever else is in there."""
    try:
        document = tomllib.loads((folder / data_folder.CONFIG_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return ""
    token = document.get("owner_token")
    return token if isinstance(token, str) else ""
