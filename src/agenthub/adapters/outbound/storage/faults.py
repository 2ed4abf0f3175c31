"""The errors of the databases and their drivers, in the hub's words."""

import logging
import re
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import UniqueConstraint
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.columns import METADATA
from agenthub.domain.exceptions import ConflictError, UnavailableError

_logger = logging.getLogger(__name__)

FOREIGN_KEY = "foreign key"
"""What `violated` gives for a reference to a missing row; SQLite does not say which."""

_RETRY_S = 1.0
_BUSY = {"SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT", "55P03"}
"""SQLite's lock of another process; PostgreSQL's lock_not_available."""


@contextmanager
def translated() -> Generator[None]:
    """Turn what a database raises into HubErrors; all else passes."""
    try:
        yield
    except PoolTimeoutError as error:
        raise busy() from error
    except IntegrityError as error:
        raise ConflictError("This is stored already, or refers to what is gone.") from error
    except DBAPIError as error:
        reason = _reason(error)
        if reason in _BUSY:
            raise busy() from error
        _logger.warning("The database failed: %s", reason)
        raise unavailable(reason) from error


@asynccontextmanager
async def conflicts(
    connection: AsyncConnection, wanted: Mapping[str, ConflictError]
) -> AsyncGenerator[None]:
    """Raise the error that `wanted` names for a violated constraint, and undo the block alone.

    PostgreSQL refuses everything after a violation; the savepoint keeps the transaction usable.
    """
    try:
        async with connection.begin_nested():
            yield
    except IntegrityError as error:
        conflict = wanted.get(violated(error) or "")
        if conflict is None:
            raise
        raise conflict from error


def violated(error: IntegrityError) -> str | None:
    """Name the constraint that was violated, as the tables name it."""
    driver_error = error.orig.__cause__ if error.orig is not None else None
    if getattr(driver_error, "sqlstate", None) == "23503":
        return FOREIGN_KEY
    name = getattr(driver_error, "constraint_name", None)
    if name is not None:
        return str(name)
    text = str(error.orig)
    if "FOREIGN KEY constraint failed" in text:
        return FOREIGN_KEY
    columns = re.search(r"UNIQUE constraint failed: (.+)", text)
    return _constraint_over(columns[1].split(", ")) if columns else None


def busy() -> UnavailableError:
    return UnavailableError(
        "The database has too much to do; try again.",
        code="storage_busy",
        retry_after_s=_RETRY_S,
    )


def unavailable(reason: str) -> UnavailableError:
    """Make the error for a database that cannot be used. `reason` must hold no data."""
    return UnavailableError(
        f"The database cannot be used ({reason}); check its address and whether it runs.",
        code="storage_unavailable",
        retry_after_s=_RETRY_S,
    )


def _constraint_over(columns: list[str]) -> str | None:
    """SQLite names the columns of a unique constraint, not the constraint."""
    for table in METADATA.tables.values():
        for constraint in table.constraints:
            if not isinstance(constraint, UniqueConstraint):
                continue
            if {f"{table.name}.{column.name}" for column in constraint.columns} == set(columns):
                return str(constraint.name)
    return None


def _reason(error: DBAPIError) -> str:
    """Name the failure. A driver's text may quote the data, so it stays out."""
    for name in ("sqlite_errorname", "sqlstate"):
        value = getattr(error.orig, name, None)
        if value:
            return str(value)
    return type(error.orig).__name__
