"""What a person reads when the hub is ready."""

import json
import shlex
import shutil
import sys
from pathlib import Path

from agenthub.config.beside import default_folder


def banner(address: str, token: str, data_dir: Path) -> str:
    """Give the links, and a client configuration that can be pasted as it is."""
    hub = {
        "type": "http",
        "url": f"{address}/mcp",
        "headers": {"Authorization": f"Bearer {token}"},
    }
    command = "agenthub" if shutil.which("agenthub") else sys.argv[0]
    if data_dir != default_folder():
        # Another terminal would look for this hub elsewhere.
        command += f" --data-dir {shlex.quote(str(data_dir))}"
    config = json.dumps({"mcpServers": {"agenthub": hub}}, indent=2)
    return f"""
  AgentHub is ready.

  Dashboard      {address}/#token={token}
  MCP endpoint   {address}/mcp

  For Claude Code, Cursor and other MCP clients:

{_indented(config)}

  Next: {command} call demo__greet name=Ada
        {command} add my-server -- npx -y some-mcp-server
"""


def short_banner(address: str) -> str:
    """Give the links alone, for where the output is kept."""
    return f"AgentHub is ready: {address}/mcp (dashboard: {address}/)"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
