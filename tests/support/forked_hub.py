"""A mortal hub that starts in a fraction of the time: forked from a process that has it loaded.

For tests that restart a hub dozens of times. It dies by SIGKILL around a commit (see mortal_hub).
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import TracebackType
from typing import Self

from agenthub.__main__ import main
from agenthub.domain.services.kept import outcomes
from tests.support.child import ChildError
from tests.support.hub_process import OWNER_TOKEN, HubConnection
from tests.support.mortal_hub import Countdown, die_around_commits
from tests.support.ports import free_port

_READY_WITHIN_S = 60.0
_GRACE_S = 0.2
"""Each life of a call ends with it, and is lived many times."""
_POLL_S = 0.02
_forks = multiprocessing.get_context("forkserver")
_LOADED = ["pytest", "agenthub.serving", "agenthub.adapters.outbound.llm.sdk"]
_forks.set_forkserver_preload([*_LOADED, "tests.support.forked_hub"])


def _live(port: int, data_dir: Path, death_file: Path, env: Mapping[str, str]) -> None:
    """Be the hub, in a process of its own."""
    log = os.open(_log_of(data_dir), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for name in [name for name in os.environ if name.startswith("AGENTHUB_")]:
        del os.environ[name]
    os.environ.update(env)
    die_around_commits(Countdown(death_file))
    outcomes.GRACE_S = _GRACE_S
    sys.argv = ["agenthub", "serve", "--port", str(port), "--data-dir", str(data_dir)]
    main()


def _log_of(data_dir: Path) -> Path:
    return data_dir.with_name(data_dir.name + ".log")


class ForkedHub(HubConnection):
    """A hub with its data in `data_dir`. While there is a `death_file`, its commits are counted."""

    def __init__(self, data_dir: Path, death_file: Path, env: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self._death_file = death_file
        self._env = {"AGENTHUB_OWNER_TOKEN": OWNER_TOKEN, **env}
        self._process: ForkServerProcess | None = None
        super().__init__(f"http://127.0.0.1:{self.port}", OWNER_TOKEN)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start and wait until it is ready. Raises ChildError with the log if it never is."""
        given = (self.port, self.data_dir, self._death_file, self._env)
        self._process = _forks.Process(target=_live, args=given, daemon=True)
        self._process.start()
        ends_at = time.monotonic() + _READY_WITHIN_S
        while not self._is_ready():
            if time.monotonic() > ends_at or not self._process.is_alive():
                log = _log_of(self.data_dir).read_text(errors="replace")
                raise ChildError(f"the hub is not ready:\n{log[-4000:]}")
            time.sleep(_POLL_S)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def has_died(self, within_s: float) -> bool:
        """Wait for its end."""
        assert self._process is not None, "the hub was never started"
        self._process.join(within_s)
        return self._process.exitcode is not None

    def _is_ready(self) -> bool:
        try:
            return self.rest("GET", "/readyz", headers={}, timeout_s=2.0).status == 200
        except OSError:
            return False
