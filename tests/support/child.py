"""A child process that a test starts, waits for and stops, with its output kept in a file."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

STOP_TIMEOUT_S = 10.0
POLL_S = 0.05


class ChildError(AssertionError):
    """The child ended, or was not ready in time; the message holds the tail of its output."""


class ChildProcess:
    """One process in a session of its own, so that what it leaves behind can be found and ended.

    Output and errors go to `log_path`. Leaving the `with` block stops the process by SIGTERM, and
    kills it if it does not end within `STOP_TIMEOUT_S`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log_path: Path,
        is_ready: Callable[[], bool],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready_timeout_s: float = 30.0,
    ) -> None:
        self._command = list(command)
        self._log_path = log_path
        self._is_ready = is_ready
        self._env = dict(env) if env is not None else dict(os.environ)
        self._cwd = cwd
        self._ready_timeout_s = ready_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """Everything the process wrote so far, over all its starts."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def start(self) -> None:
        """Start and wait until it is ready; raises ChildError with the log if it never is."""
        assert not self.is_running, "the process runs already"
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
            )
        deadline = time.monotonic() + self._ready_timeout_s
        while not self._is_ready():
            if self.wait(POLL_S) is not None:
                raise ChildError(f"{self._command} ended early:\n{self.log()[-4000:]}")
            if time.monotonic() > deadline:
                self.kill()
                raise ChildError(f"{self._command} never became ready:\n{self.log()[-4000:]}")

    def wait(self, timeout_s: float) -> int | None:
        """The exit code, or None if it still runs after `timeout_s`."""
        try:
            return self._running().wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> float | None:
        """End it by SIGTERM. Returns the seconds it took, or None if it had to be killed."""
        if self._process is None or self._process.poll() is not None:
            return 0.0
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        if self.wait(timeout_s) is None:
            self.kill()
            return None
        return time.monotonic() - started

    def kill(self) -> None:
        """SIGKILL to the process alone, as an out-of-memory killer would do it."""
        process = self._running()
        if process.poll() is None:
            process.kill()
        process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the process was never started"
        return self._process


@contextmanager
def all_running(*children: ChildProcess) -> Generator[None]:
    """Start several at the same time, for most of it is waiting, and stop them so."""
    with ThreadPoolExecutor(len(children)) as pool:
        try:
            list(pool.map(ChildProcess.start, children))
            yield
        finally:
            list(pool.map(ChildProcess.stop, children))
