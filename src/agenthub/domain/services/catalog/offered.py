"""Which of its instances' catalogues stands for a server."""

from agenthub.domain.entities.catalog.listing import EMPTY, Catalog
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.mcp_client import McpClient
from agenthub.domain.services.directory import Directory


def offered(client: McpClient, directory: Directory, endpoint_id: EndpointId, era: Era) -> Catalog:
    """Give what a server offers: by its own address, else by the first that was reached."""
    own = client.catalog(endpoint_id, era)
    if is_known(own):
        return own
    others = (i for i in directory.instances(endpoint_id) if not i.is_own)
    catalogs = (client.catalog(instance.id, era) for instance in others)
    return next(filter(is_known, catalogs), own)


def offered_by_era(
    client: McpClient, directory: Directory, endpoint_id: EndpointId
) -> dict[Era, Catalog]:
    """Give the same for each era, without a sign that any agent is there."""
    own = client.catalogs(endpoint_id)
    if all(map(is_known, own.values())):
        return own
    others = [client.catalogs(i.id) for i in directory.instances(endpoint_id) if not i.is_own]
    return {
        era: next((one[era] for one in (own, *others) if is_known(one[era])), own[era])
        for era in Era
    }


def is_known(catalog: Catalog) -> bool:
    """Say whether a server was ever heard to offer this."""
    return catalog != EMPTY
