"""Ten servers under a steady load, three of them with faults that change: what the others notice.

Run: python -m benchmarks.resilience [--seconds 60] [--rate 500] [--out FILE]

First without faults, then with them, then healed until the three are well again. Prints JSON on
standard output and a table beside it. Times are taken from the moment a call was due.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.faulty_line import FAULTS, HEALTHY
from benchmarks.load import Job
from benchmarks.paced import Call, Load
from benchmarks.processes import (
    TOKEN,
    Server,
    expect,
    free_port,
    register,
    start_hub,
    start_upstream,
    wait_ready,
)
from benchmarks.truth import examine

SERVERS = 10
ILL = (0, 4, 8)
WELL = tuple(number for number in range(SERVERS) if number not in ILL)
WARM_UP_S = 5.0
CHANGES = 6
"""How often the faults change; each of the three then has another one."""

CALM_S = 3.0
"""A server is well again when every call in this time was right."""

RECOVERY_LIMIT_S = 120.0
CONNECTIONS = 64
P99_GOAL = 1.5
POLICY = {"timeout_s": 2.0, "breaker": {"max_open_s": 10.0}}
"""Of all servers: calls that hang and long pauses shall not outlast the measurement."""


@dataclass(slots=True)
class Stage:
    """The processes of the measurement."""

    hub: Server
    url: str
    lines: dict[int, Server]
    is_over: asyncio.Event = field(default_factory=asyncio.Event)

    def plant(self, server: int, fault: str) -> None:
        pipe = self.lines[server].process.stdin
        assert pipe is not None
        pipe.write(fault.encode() + b"\n")
        pipe.flush()

    def heal(self) -> None:
        for server in ILL:
            self.plant(server, HEALTHY)


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    began: float
    ended: float
    hub_cpu_s: float


def set_up(stack: ExitStack) -> Stage:
    ports = [free_port() for _ in range(SERVERS)]
    for port in ports:
        stack.callback(start_upstream(port).stop)
    lines: dict[int, Server] = {}
    for number in ILL:
        line = free_port()
        args = ["-m", "benchmarks.faulty_line", "--port", str(line), "--target", str(ports[number])]
        lines[number] = Server(sys.executable, *args, stdin=subprocess.PIPE)
        stack.callback(lines[number].stop)
        ports[number] = line
    for port in ports:
        wait_ready(f"http://127.0.0.1:{port}/mcp")
    hub_port = free_port()
    url = f"http://127.0.0.1:{hub_port}"
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    hub = start_hub(hub_port, folder / "data")
    stack.callback(hub.stop)
    wait_ready(f"{url}/readyz")
    for number, port in enumerate(ports):
        transport = {"type": "streamable-http", "url": f"http://127.0.0.1:{port}/mcp"}
        register(url, f"up-{number}", transport)
        expect(200, "PATCH", f"{url}/api/gateway/servers/up-{number}/policy", POLICY)
    return Stage(hub, url, lines)


async def play(stage: Stage, load: Load, seconds: float) -> list[Phase]:
    """The phases of the measurement, while the load runs."""
    phases: list[Phase] = []
    await asyncio.sleep(WARM_UP_S)

    async def through(name: str, deeds: list[dict[int, str]], each_s: float) -> None:
        began, spent = time.monotonic(), stage.hub.cpu_s()
        for deed in deeds:
            for server, fault in deed.items():
                stage.plant(server, fault)
            await asyncio.sleep(each_s)
        phases.append(Phase(name, began, time.monotonic(), stage.hub.cpu_s() - spent))

    await through("no faults", [{}], seconds)
    await through("faults", schedule(), seconds / CHANGES)
    began, spent = time.monotonic(), stage.hub.cpu_s()
    stage.heal()
    while time.monotonic() < began + RECOVERY_LIMIT_S:
        await asyncio.sleep(0.5)
        if time.monotonic() > began + CALM_S and all(is_calm(load.calls, s) for s in ILL):
            break
    await asyncio.sleep(CALM_S)
    phases.append(Phase("healed", began, time.monotonic(), stage.hub.cpu_s() - spent))
    stage.is_over.set()
    return phases


def schedule() -> list[dict[int, str]]:
    """The faults of each server at each change; no two have the same at a time."""
    return [
        {server: FAULTS[(turn + 2 * place) % len(FAULTS)] for place, server in enumerate(ILL)}
        for turn in range(CHANGES)
    ]


def is_calm(calls: list[Call], server: int) -> bool:
    since = time.monotonic() - CALM_S
    recent = [call for call in calls[-10_000:] if call.server == server and call.ended > since]
    return bool(recent) and all(not call.code for call in recent)


def within(calls: list[Call], phase: Phase, servers: tuple[int, ...]) -> list[Call]:
    return [c for c in calls if phase.began <= c.due < phase.ended and c.server in servers]


def figures(calls: list[Call]) -> dict:
    took = sorted(call.took_ms for call in calls)
    codes = Counter(call.code for call in calls if call.code)
    return {
        "calls": len(calls),
        "failures": sum(codes.values()),
        "codes": dict(codes.most_common()),
        "p50_ms": round(took[len(took) // 2], 2),
        "p99_ms": round(took[int(len(took) * 0.99)], 2),
        "most_ms": round(took[-1], 2),
    }


def recovery_s(calls: list[Call], healed_at: float, server: int) -> float | None:
    """Seconds from the healing to the first of only right answers; None if there were none."""
    since = sorted((c for c in calls if c.server == server and c.due > healed_at), key=_due)
    well = None
    for call in reversed(since):
        if call.code:
            break
        well = call
    return None if well is None else round(well.ended - healed_at, 2)


def _due(call: Call) -> float:
    return call.due


def report_on(calls: list[Call], phases: list[Phase]) -> dict:
    rows: dict = {}
    for phase in phases:
        count = len(within(calls, phase, WELL + ILL))
        rows[phase.name] = {
            "seven": figures(within(calls, phase, WELL)),
            "three": figures(within(calls, phase, ILL)),
            "per_s": round(count / (phase.ended - phase.began), 1),
            "hub_cpu_ms_per_call": round(phase.hub_cpu_s * 1e3 / count, 3),
        }
    healthy = [rows[phase.name]["seven"] for phase in phases]
    healed_at = phases[-1].began
    return {
        "p99_ratio_of_the_seven": round(healthy[1]["p99_ms"] / healthy[0]["p99_ms"], 3),
        "p99_goal": P99_GOAL,
        "lost_calls_of_the_seven": sum(row["failures"] for row in healthy),
        "recovered_after_s": {f"up-{s}": recovery_s(calls, healed_at, s) for s in ILL},
        "refusals": examine(calls),
        "phases": rows,
    }


def table(report: dict) -> str:
    lines = [f"{'phase':<10} {'servers':<7} {'calls':>7} {'failed':>7} {'p50 ms':>8} {'p99 ms':>8}"]
    for name, row in report["phases"].items():
        for group in ("seven", "three"):
            f = row[group]
            lines.append(
                f"{name:<10} {group:<7} {f['calls']:>7} {f['failures']:>7}"
                f" {f['p50_ms']:>8} {f['p99_ms']:>8}"
            )
    for key, value in report.items():
        if key != "phases":
            lines.append(f"{key}: {value}")
    return "\n".join(lines)


async def measure(stage: Stage, seconds: float, rate: float) -> dict:
    tools = [f"up-{number}__echo" for number in range(SERVERS)]
    jobs = [Job(f"{stage.url}/mcp", TOKEN, era, "", [], 0, 0) for era in ("modern", "legacy")]
    load = Load(jobs, [list(WELL), list(ILL)], tools, rate)
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(stage.is_over, CONNECTIONS))
        playing = group.create_task(play(stage, load, seconds))
    report = report_on(load.calls, playing.result())
    report["guards_at_the_end"] = {
        f"up-{number}": breaker_of(stage.url, f"up-{number}") for number in ILL
    }
    return report


def breaker_of(hub: str, server: str) -> str:
    seen = json.loads(expect(200, "GET", f"{hub}/api/gateway/servers/{server}"))
    return seen["instances"][0]["breaker"]["state"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each of two phases")
    parser.add_argument("--rate", type=float, default=500.0, help="calls per second in all")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with ExitStack() as stack:
        report = uvloop.run(measure(set_up(stack), options.seconds, options.rate))
    print(table(report), file=sys.stderr)
    text = json.dumps(report, indent=2)
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
