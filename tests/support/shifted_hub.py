"""The hub on a machine whose wall clock jumps: `python -m tests.support.shifted_hub serve ...`.

The file named by SHIFT_FILE holds seconds to add to the time of day; it is read at every look at
the clock. The monotonic clock is left alone, as by a real jump.
"""

import os
from datetime import datetime, timedelta
from pathlib import Path

from agenthub.__main__ import main
from agenthub.adapters.outbound.clock.system import SystemClock

SHIFT_FILE = "CHAOS_SHIFT_FILE"


def jump_to(shift_file: Path, seconds: float) -> None:
    """Set the shift at once: a hub that looks meanwhile sees the one before or this one."""
    fresh = shift_file.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.replace(shift_file)


def shift_time_of_day(shift_file: Path) -> None:
    """Have every `SystemClock` of this process add what the file says."""
    true_now = SystemClock.now

    def now(self: SystemClock) -> datetime:
        return true_now(self) + timedelta(seconds=float(shift_file.read_text()))

    SystemClock.now = now  # type: ignore[method-assign]  # the point of this program


if __name__ == "__main__":
    shift_time_of_day(Path(os.environ[SHIFT_FILE]))
    main()
