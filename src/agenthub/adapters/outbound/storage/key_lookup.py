"""Finding the key of a presented secret, in all workspaces."""

from sqlalchemy import select

from agenthub.adapters.outbound.storage.engine import Database
from agenthub.adapters.outbound.storage.identity import KEYS, key_of
from agenthub.domain.entities.identity import ApiKey
from agenthub.domain.ports.outbound.storage.identity import KeyLookup


class SqlKeyLookup(KeyLookup):
    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def by_hash(self, secret_sha256: str) -> ApiKey | None:
        query = select(KEYS).where(KEYS.c.secret_sha256 == secret_sha256)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else key_of(row)
