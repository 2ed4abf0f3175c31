"""A process that appends for ever: `python -m tests.contracts.journal_writer FOLDER FIRST`.

Each line it says is the number of a record that was appended. It is killed from outside.
"""

import asyncio
import sys
from pathlib import Path

from agenthub.adapters.outbound.journal.file import FileJournal


async def main(folder: Path, number: int) -> None:
    async with FileJournal(folder=folder) as journal:
        while True:
            journal.append(str(number).encode())
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            number += 1


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
