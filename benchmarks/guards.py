"""What the guards cost a call: hubs with all of them and with none, in turns, on one upstream.

Run: python -m benchmarks.guards [--rounds 10] [--requests 3000] [--baseline-src DIR] [--out FILE]

DIR is the `src` folder of another revision (`git archive REV src | tar -x -C FOLDER`), measured in
the same turns: what cannot be switched off shows against a hub that has none of it.
Each figure is the hub process's own CPU time per tools/call; a difference is taken within a round,
so that a busy machine weighs on both sides alike.
"""

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import (
    Server,
    expect,
    free_port,
    measure,
    register,
    start_hub,
    start_upstream,
    wait_ready,
)

GOAL_MS = 0.1
NEVER = 1_000_000
"""A limit that is counted and checked at each call and never met."""

ON = {
    "rate_limit": {"rate_per_s": NEVER, "burst": NEVER},
    "caller_rate_limit": {"rate_per_s": NEVER, "burst": NEVER},
    "calls_per_day": NEVER,
    "bulkhead": {"max_concurrent": 1_000},
}
OFF = {
    "breaker": {"enabled": False},
    "retry": {"max_retries": 0},
    "health": {"enabled": False},
    "bulkhead": {"max_concurrent": 1_000},
}


@dataclass(frozen=True, slots=True)
class Side:
    """One of the hubs that are compared."""

    name: str
    server: Server
    url: str


def start_side(
    stack: ExitStack, name: str, upstream: str, policy: dict | None, source: Path | None = None
) -> Side:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    server = start_hub(port, folder / "data", source=source)
    stack.callback(server.stop)
    wait_ready(f"{url}/readyz")
    register(url, "echo", {"type": "streamable-http", "url": upstream})
    if policy is not None:
        expect(200, "PATCH", f"{url}/api/gateway/servers/echo/policy", policy)
    return Side(name, server, f"{url}/mcp")


def play(sides: list[Side], rounds: int, load: tuple[int, int], era: str) -> list[dict]:
    """Measure every side once a round, each round from the other end."""
    turns: list[dict] = []
    for number in range(rounds):
        turn: dict = {}
        for side in sides if number % 2 == 0 else reversed(sides):
            row = measure(
                side.server, side.url, era=era, method="tools/call", tools=["echo__echo"], load=load
            )
            turn[side.name] = row["cpu_ms"]
        print(turn, file=sys.stderr)
        turns.append(turn)
    return turns


def spread(values: list[float]) -> dict:
    low, _, high = statistics.quantiles(values, n=4)
    return {
        "median": round(statistics.median(values), 4),
        "quartiles": [round(low, 4), round(high, 4)],
        "least": round(min(values), 4),
        "most": round(max(values), 4),
    }


def summary(turns: list[dict]) -> dict:
    """CPU milliseconds per call of each side, and what the guards add, round by round."""
    names = list(turns[0])
    report: dict = {name: spread([turn[name] for turn in turns]) for name in names}
    for other in names[1:]:
        added = [turn["guards"] - turn[other] for turn in turns]
        report[f"guards over {other}"] = spread(added)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=3_000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--era", choices=("legacy", "modern"), default="modern")
    parser.add_argument("--baseline-src", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with ExitStack() as stack:
        port = free_port()
        upstream = start_upstream(port)
        stack.callback(upstream.stop)
        address = f"http://127.0.0.1:{port}/mcp"
        wait_ready(address)
        sides = [
            start_side(stack, "guards", address, ON),
            start_side(stack, "no guards", address, OFF),
        ]
        if options.baseline_src is not None:
            source = options.baseline_src.absolute()
            sides.append(start_side(stack, "baseline", address, None, source))
        load = (options.concurrency, options.requests)
        turns = play(sides, options.rounds, load, options.era)
    report = {"goal_ms": GOAL_MS, "cpu_ms_per_call": summary(turns), "rounds": turns}
    text = json.dumps(report, indent=2)
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
