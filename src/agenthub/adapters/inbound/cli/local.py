"""What the command line needs of the machine it runs on; given by the composition root."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """None leaves a setting to the environment and `agenthub.toml`."""

    host: str | None
    port: int | None
    data_dir: Path | None
    demo: bool


@dataclass(frozen=True, slots=True)
class Local:
    """`address` and `owner_token` look into the data folder (None: the default one).

    `owner_token` raises FileNotFoundError before the first start. `setting_faults` says what is
    wrong with `agenthub.toml`. `now` is in UTC.
    """

    serve: Callable[[ServeOptions], int]
    address: Callable[[Path | None], str]
    owner_token: Callable[[Path | None], str]
    setting_faults: Callable[[Path | None], list[str]]
    version: str
    now: Callable[[], datetime]
