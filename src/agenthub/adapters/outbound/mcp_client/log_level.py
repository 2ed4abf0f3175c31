"""How much a legacy server logs: as much as the most curious of its callers wants."""

import logging

from agenthub.adapters.outbound.mcp_client.channel import Channel
from agenthub.adapters.outbound.mcp_client.messages import text_bytes
from agenthub.domain.exceptions import HubError, RpcError

_log = logging.getLogger(__name__)

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
TIMEOUT_S = 5.0


class LogLevel:
    """Of one connection, which all agents share; what each gets is sieved afterwards."""

    def __init__(self) -> None:
        self._rank = len(LEVELS)

    async def lower(self, channel: Channel, level: str, within_s: float) -> None:
        """See to it that messages of this level come. A server that refuses keeps its own."""
        rank = LEVELS.index(level) if level in LEVELS else len(LEVELS)
        if rank >= self._rank or "logging" not in channel.hello.capabilities:
            return
        self._rank = rank
        try:
            await channel.request(
                "logging/setLevel",
                {"level": text_bytes(level)},
                meta={},
                caller=None,
                timeout_s=max(0.0, min(TIMEOUT_S, within_s)),
            )
        except (HubError, RpcError) as error:
            _log.debug("log level refused", extra={"why": str(error)})
