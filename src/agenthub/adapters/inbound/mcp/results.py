"""Results of the hub's own making, as each revision wants them."""

from importlib.metadata import version as installed_version

import msgspec

from agenthub.adapters.inbound.mcp.envelope import PRIVATE
from agenthub.adapters.inbound.mcp.frames import members
from agenthub.adapters.inbound.mcp.versions import has_titles, is_modern
from agenthub.domain.ports.outbound.mcp_client import RawObject

HUB_VERSION = installed_version("agenthub")
SERVER_INFO_KEY = f"{PRIVATE}serverInfo"


def server_info(version: str) -> dict[str, str]:
    """Say who the hub is, in the words of revision `version`."""
    info = {"name": "agenthub", "version": HUB_VERSION}
    return {**info, "title": "AgentHub"} if has_titles(version) else info


SERVER_INFO = msgspec.json.encode(server_info("2026-07-28"))
COMPLETE = b'"complete"'
HEAD = b'{"resultType":"complete",'
SERVER_META = members({SERVER_INFO_KEY: SERVER_INFO})
META = b'"_meta":' + SERVER_META


def complete_result(result: RawObject, version: str) -> bytes:
    """Finish a result of the hub's own: modern agents get `resultType` and who answered."""
    if not is_modern(version):
        return members(result)
    return members({"resultType": COMPLETE, **result, "_meta": meta_with_server_info(result)})


def meta_with_server_info(result: RawObject) -> bytes:
    """Give the `_meta` of a result for modern agents. Its own must be an object, if there."""
    own = result.get("_meta", b"{}")[1:].lstrip()
    return SERVER_META if own == b"}" else SERVER_META[:-1] + b"," + own
