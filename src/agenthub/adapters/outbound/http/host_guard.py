"""The address guard for libraries that connect by themselves: asked before they do."""

import asyncio
import socket
from ipaddress import ip_address

from agenthub.adapters.outbound.http.address_guard import refusal
from agenthub.domain.exceptions import TimedOutError
from agenthub.domain.ports.outbound.http import (
    ConnectFailedError,
    EgressDeniedError,
    EgressGuard,
)

LOOK_UP_TIMEOUT_S = 10.0


class HostGuard(EgressGuard):
    """Judges every address of a name, as the hub's own connections are judged."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    def refusal(self, host: str) -> str | None:
        try:
            address = ip_address(host.strip("[]").partition("%")[0])
        except ValueError:
            return None
        return refusal(str(address), self._allow_private)

    async def check(self, host: str) -> None:
        for address in await _addresses(host.strip("[]")):
            reason = refusal(address, self._allow_private)
            if reason is not None:
                raise EgressDeniedError(f"The hub does not call {host}: {reason}.")


async def _addresses(host: str) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise TimedOutError(f"The name {host} was not resolved in time.") from error
    except (OSError, UnicodeError) as error:
        raise ConnectFailedError(f"No connection to {host}: the name does not resolve.") from error
    return [str(address[0]) for *_, address in found]
