"""A stdio MCP server whose tools stand in a file. Run by path with `python -I -S`.

    python -I -S changing_stdio.py TOOLS_FILE ERA

The file is read at each tools/list, so that definitions change while the server runs. A call of
`quit` ends the process; every other one answers with the tool's name.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

INFO = {"name": "changing", "version": "1.0.0"}
VERSION_META = "io.modelcontextprotocol/protocolVersion"

Json = dict[str, Any]


def result_of(method: str, params: Json, tools_file: Path) -> Json | None:
    match method:
        case "tools/list":
            return {"tools": json.loads(tools_file.read_text())}
        case "tools/call" if params["name"] == "quit":
            os._exit(0)
        case "tools/call":
            return {"content": [{"type": "text", "text": params["name"]}]}
        case "server/discover":
            info = {"io.modelcontextprotocol/serverInfo": INFO}
            offers: Json = {"capabilities": {"tools": {}}, "_meta": info}
            return {"supportedVersions": ["2026-07-28"], **offers}
        case "initialize":
            offers = {"capabilities": {"tools": {}}, "serverInfo": INFO}
            return {"protocolVersion": "2025-11-25", **offers}
        case "ping":
            return {}
        case _:
            return None


def main(tools_file: Path, era: str) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        params = message.get("params") or {}
        is_modern = VERSION_META in (params.get("_meta") or {})
        result = None
        if is_modern == (era == "modern"):
            result = result_of(message["method"], params, tools_file)
        answer: Json = {"jsonrpc": "2.0", "id": message["id"]}
        if result is None:
            answer["error"] = {"code": -32601, "message": "Method not found"}
        elif is_modern:
            caching = {"ttlMs": 60_000, "cacheScope": "public", "resultType": "complete"}
            answer["result"] = {**caching, **result}
        else:
            answer["result"] = result
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
