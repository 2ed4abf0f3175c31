"""Measures the hub against its upstreams in one run and prints JSON.

Run: make bench   (or: python -m benchmarks [--quick] [--out FILE])

CPU milliseconds are the hub process's own (user + system) per request, so they hold on a busy
machine too; times and rates depend on it and are given beside the direct ones of the same run.
"""

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import (
    Server,
    free_port,
    http,
    measure,
    register,
    start_hub,
    start_upstream,
    wait_ready,
)

HUB_PORT, UPSTREAM_PORT, BARE_PORT = free_port(), free_port(), free_port()
HUB = f"http://127.0.0.1:{HUB_PORT}"
BARE = f"http://127.0.0.1:{BARE_PORT}/mcp"
UPSTREAM = f"http://127.0.0.1:{UPSTREAM_PORT}/mcp"


@contextlib.contextmanager
def hub(folder: Path) -> Iterator[tuple[Server, float]]:
    server = start_hub(HUB_PORT, folder)
    try:
        yield server, wait_ready(f"{HUB}/readyz")
    finally:
        server.stop()


def upstream(tools: int = 10) -> Server:
    server = start_upstream(UPSTREAM_PORT, tools)
    wait_ready(UPSTREAM)
    return server


def bare() -> Server:
    args = (sys.executable, "-m", "benchmarks.bare", "--port", str(BARE_PORT))
    server = Server(*args, "--upstream", UPSTREAM)
    wait_ready(BARE)
    return server


def measure_calls(folder: Path, requests: int) -> list[dict]:
    """tools/call direct and through the hub, in both eras, over HTTP and stdio."""
    rows: list[dict] = []
    up, floor = upstream(), bare()
    try:
        with hub(folder) as (server, _):
            address = UPSTREAM
            register(HUB, "http", {"type": "streamable-http", "url": address})
            command = {"command": sys.executable, "args": ["-m", "benchmarks.upstream", "--stdio"]}
            register(HUB, "stdio", {"type": "stdio", "cwd": os.getcwd(), **command})
            targets = {
                "direct": (up, address, "echo"),
                "bare forward to http": (floor, BARE, "http__echo"),
                "hub to http": (server, f"{HUB}/mcp", "http__echo"),
                "hub to stdio": (server, f"{HUB}/mcp", "stdio__echo"),
            }
            for era in ("legacy", "modern"):
                for path, (target, url, tool) in targets.items():
                    for concurrency in (1, 16, 64):
                        load = (concurrency, requests)
                        row = measure(
                            target, url, era=era, method="tools/call", tools=[tool], load=load
                        )
                        rows.append({"path": path, "era": era, "concurrency": concurrency, **row})
                        print(rows[-1], file=sys.stderr)
    finally:
        floor.stop()
        up.stop()
    return rows


def measure_many(folder: Path, requests: int) -> list[dict]:
    """tools/list and tools/call with 1, 10 and 50 upstreams of 10 tools each."""
    rows: list[dict] = []
    up = upstream()
    try:
        with hub(folder) as (server, _):
            url, registered = f"{HUB}/mcp", 0
            for count in (1, 10, 50):
                for number in range(registered, count):
                    transport = {"type": "streamable-http", "url": UPSTREAM}
                    register(HUB, f"up-{number}", transport)
                registered = count
                tools = [f"up-{number}__echo" for number in range(count)]
                for method, concurrency in (("tools/list", 1), ("tools/call", 16)):
                    load = (concurrency, requests)
                    row = measure(server, url, era="modern", method=method, tools=tools, load=load)
                    rows.append({"upstreams": count, "method": method, **row})
                    print(rows[-1], file=sys.stderr)
            rows.append({"upstreams": 50, "rss_mb": server.rss_mb()})
    finally:
        up.stop()
    return rows


def measure_start(folder: Path) -> dict:
    """Seconds from start to ready and to the first successful call; memory when idle."""
    with hub(folder) as (_, _):
        register(
            HUB,
            "demo",
            {"type": "stdio", "command": sys.executable, "args": ["-m", "agenthub.demo"]},
        )
    began = time.perf_counter()
    with hub(folder) as (server, ready_s):
        call = f"{HUB}/api/mcp/servers/demo/tools/greet"
        while http("POST", call, {"arguments": {"name": "Ada"}})[0] != 200:
            time.sleep(0.05)
            if time.perf_counter() - began > 60:
                raise TimeoutError("no first call")
        first_call_s = time.perf_counter() - began
        time.sleep(3)
        return {
            "ready_s": round(ready_s, 2),
            "first_call_s": round(first_call_s, 2),
            "idle_rss_mb": server.rss_mb(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    requests = 1_000 if options.quick else 8_000
    report: dict = {"python": platform.python_version(), "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as folder:
        report["start"] = measure_start(Path(folder) / "start")
        print(report["start"], file=sys.stderr)
        report["calls"] = measure_calls(Path(folder) / "calls", requests)
        report["many"] = measure_many(Path(folder) / "many", requests // 2)
    text = json.dumps(report, indent=2)
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
