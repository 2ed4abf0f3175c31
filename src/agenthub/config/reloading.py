"""Takes up changes of the gateway's policies in agenthub.toml while the hub runs."""

import asyncio
import logging
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from agenthub.config.policy_settings import read_policies
from agenthub.config.settings import CONFIG_FILE, Settings
from agenthub.domain.exceptions import InvalidError
from agenthub.domain.services.policies import PolicyService

EVERY_S = 1.0

_logger = logging.getLogger(__name__)

Stamp = tuple[int, int, int] | None
"""When and how large a file was, and which; None: there is none."""

UNSEEN: Stamp = (-1, -1, -1)


class ConfigWatch:
    """A resident that looks at the file every second and reads `[gateway]` when it has changed.

    The other settings hold until the next start. A file with a fault changes nothing.
    """

    def __init__(
        self,
        *,
        policies: PolicyService,
        settings: Settings,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = settings.data_dir / CONFIG_FILE
        self._call_timeout_s = settings.chosen_call_timeout_s
        self._policies = policies
        self._pause = pause
        self._seen: Stamp = None
        self._is_refused = False
        self._is_faulty = False
        policies.listen(self._on_policies)
        self._tasks = asyncio.TaskGroup()
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._seen = UNSEEN  # what was written since the start read it must not be missed
        self._watch = self._tasks.create_task(self._watch_on(), name="config-watch")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()
        # The error of the block belongs to whoever raised it, not into a group of errors.
        await self._tasks.__aexit__(None, None, None)

    async def _watch_on(self) -> None:
        while True:
            await self._pause(EVERY_S)
            try:
                self._look()
            except Exception:
                _logger.exception("%s could not be watched", self._path)

    def _on_policies(self) -> None:
        """Try again what did not fit: what was set at run time is no longer the same."""
        if self._is_refused:
            self._seen = UNSEEN

    def _look(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return
        self._is_refused = False
        # Taken before reading: what is written meanwhile is seen at the next look.
        self._seen = stamp
        try:
            layers = read_policies(self._path, self._call_timeout_s)
            is_news = self._policies.use_file(layers)
            if self._is_faulty:
                _logger.info("%s is mended, its policies hold", CONFIG_FILE)
            elif is_news:
                _logger.info("the policies in %s are taken up", CONFIG_FILE)
            self._is_faulty = False
        except ValidationError as error:
            words = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            self._refuse(words)
        except InvalidError as error:
            self._is_refused = True
            self._refuse(error.message)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            self._refuse(f"it is no TOML: {error}")
        except OSError as error:
            self._refuse(f"it cannot be read: {error.strerror}")

    def _refuse(self, fault: str) -> None:
        self._is_faulty = True
        _logger.warning("%s is not taken up, the former policies hold: %s", CONFIG_FILE, fault)


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
