"""Brings the tables from one revision to another. Loads Alembic: import it only when needed."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from agenthub.domain.exceptions import HubError

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the missing migrations in the connection's transaction.

    Raises HubError (code `database_too_new`) for a revision that is not known here.
    """
    try:
        command.upgrade(config_for(connection), revision)
    except CommandError as error:
        raise HubError(
            "The database was made by a newer AgentHub; update this one, or restore a backup.",
            code="database_too_new",
        ) from error


def downgrade(connection: Connection, revision: str) -> None:
    """Undo the migrations behind `revision`; "base" undoes all."""
    command.downgrade(config_for(connection), revision)


def config_for(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
