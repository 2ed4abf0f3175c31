"""How Alembic runs here: on the connection it is given, inside that connection's transaction."""

from alembic import context

from agenthub.adapters.outbound.storage.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
