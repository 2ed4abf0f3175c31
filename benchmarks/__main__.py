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
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


HUB_PORT, UPSTREAM_PORT, BARE_PORT = free_port(), free_port(), free_port()
HUB = f"http://127.0.0.1:{HUB_PORT}"
BARE = f"http://127.0.0.1:{BARE_PORT}/mcp"
UPSTREAM = f"http://127.0.0.1:{UPSTREAM_PORT}/mcp"
TOKEN = "benchmark-owner-token-0123456789"


class Server:
    """A child process, stopped at the end."""

    def __init__(self, *args: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            args, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL
        )
        self.probe = psutil.Process(self.process.pid)

    def cpu_s(self) -> float:
        times = self.probe.cpu_times()
        return times.user + times.system

    def rss_mb(self) -> float:
        return round(self.probe.memory_info().rss / 1e6, 1)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(15)


def http(method: str, url: str, body: dict | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, method=method)
    request.add_header("Authorization", f"Bearer {TOKEN}")
    data = None
    if body is not None:
        request.add_header("Content-Type", "application/json")
        data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, data, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def wait_ready(url: str, limit_s: float = 60) -> float:
    began = time.perf_counter()
    while time.perf_counter() - began < limit_s:
        with contextlib.suppress(OSError):
            if http("GET", url)[0] < 500:
                return time.perf_counter() - began
        time.sleep(0.02)
    raise TimeoutError(url)


@contextlib.contextmanager
def hub(folder: Path) -> Iterator[tuple[Server, float]]:
    env = {"AGENTHUB_OWNER_TOKEN": TOKEN, "AGENTHUB_LOG__LEVEL": "warning"}
    args = (sys.executable, "-m", "agenthub", "serve", "--port", str(HUB_PORT))
    server = Server(*args, "--data-dir", str(folder), env=env)
    try:
        yield server, wait_ready(f"{HUB}/readyz")
    finally:
        server.stop()


def upstream(tools: int = 10) -> Server:
    args = (sys.executable, "-m", "benchmarks.upstream", "--port", str(UPSTREAM_PORT))
    server = Server(*args, "--tools", str(tools))
    wait_ready(UPSTREAM)
    return server


def bare() -> Server:
    args = (sys.executable, "-m", "benchmarks.bare", "--port", str(BARE_PORT))
    server = Server(*args, "--upstream", UPSTREAM)
    wait_ready(BARE)
    return server


def register(name: str, transport: dict) -> None:
    body = {"name": name, "transport": transport}
    status, text = http("POST", f"{HUB}/api/mcp/servers?verify=true", body)
    if status != 201:
        raise RuntimeError(f"{name}: {status} {text!r}")


def measure(
    target: Server, url: str, *, era: str, method: str, tools: list[str], load: tuple[int, int]
) -> dict:
    concurrency, requests = load
    args = [sys.executable, "-m", "benchmarks.load", "--url", url, "--token", TOKEN, "--era", era]
    args += ["--method", method, "--concurrency", str(concurrency), "--requests", str(requests)]
    for tool in tools:
        args += ["--tool", tool]
    client = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdin is not None
    assert client.stdout is not None
    if client.stdout.readline().strip() != "READY":
        raise RuntimeError(f"the load generator failed at {url}")
    before = target.cpu_s()
    client.stdin.write("\n")
    client.stdin.flush()
    figures = json.loads(client.stdout.read())
    spent = target.cpu_s() - before
    client.wait()
    return {"cpu_ms": round(spent * 1e3 / figures["requests"], 3), **figures}


def measure_calls(folder: Path, requests: int) -> list[dict]:
    """tools/call direct and through the hub, in both eras, over HTTP and stdio."""
    rows: list[dict] = []
    up, floor = upstream(), bare()
    try:
        with hub(folder) as (server, _):
            address = UPSTREAM
            register("http", {"type": "streamable-http", "url": address})
            command = {"command": sys.executable, "args": ["-m", "benchmarks.upstream", "--stdio"]}
            register("stdio", {"type": "stdio", "cwd": os.getcwd(), **command})
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
                    register(f"up-{number}", transport)
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
