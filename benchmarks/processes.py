"""The processes that a measurement starts, and what it asks of them over HTTP."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

TOKEN = "benchmark-owner-token-0123456789"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A child process, stopped at the end."""

    def __init__(
        self, *args: str, env: dict[str, str] | None = None, stdin: int | None = None
    ) -> None:
        self.process = subprocess.Popen(
            args, env={**os.environ, **(env or {})}, stdin=stdin, stdout=subprocess.DEVNULL
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


def http(method: str, url: str, body: object = None) -> tuple[int, bytes]:
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


def start_hub(port: int, folder: Path, *, source: Path | None = None) -> Server:
    """Start a hub, of another source tree where `source` names one; does not wait for it."""
    env = {"AGENTHUB_OWNER_TOKEN": TOKEN, "AGENTHUB_LOG__LEVEL": "warning"}
    if source is not None:
        env["PYTHONPATH"] = str(source)
    args = (sys.executable, "-m", "agenthub", "serve", "--port", str(port))
    return Server(*args, "--data-dir", str(folder), env=env)


def start_upstream(port: int, tools: int = 10, *, asking: bool = False) -> Server:
    args = [sys.executable, "-m", "benchmarks.upstream", "--port", str(port)]
    args += ["--asking"] if asking else []
    return Server(*args, "--tools", str(tools))


def register(hub: str, name: str, transport: dict) -> None:
    body = {"name": name, "transport": transport}
    expect(201, "POST", f"{hub}/api/mcp/servers?verify=true", body)


def expect(expected: int, method: str, url: str, body: object = None) -> bytes:
    """Send a request and insist on its status."""
    status, text = http(method, url, body)
    if status != expected:
        raise RuntimeError(f"{method} {url}: {status} {text!r}")
    return text


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
