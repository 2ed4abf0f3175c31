"""Hundreds of calls that wait for a person, and four people who answer them at the same time.

Run: python -m benchmarks.people [--waiting 500] [--rate 50] [--out FILE]

Every call asks; all four people answer each question at once, so one must win and three must be
told that they came late. Prints JSON on standard output and a table beside it: the time from the
winner's answer to the caller's result, from the server's question to its event, and the hub's
memory.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import uvloop

from benchmarks.load import META
from benchmarks.processes import (
    TOKEN,
    Server,
    free_port,
    register,
    start_hub,
    start_upstream,
    wait_ready,
)
from benchmarks.upstream import ASKING, MODERN

PEOPLE = 4
BACKGROUND = 100
"""Questions that wait all the while when the way from a question to its event is measured."""

PROBES = 200
ANSWER_GOAL_MS = 100.0
EVENT_GOAL_MS = 50.0
MEMORY_GOAL_MB = 200.0
LIMIT_S = 120.0
HEADERS = {
    "Authorization": f"Bearer {TOKEN}",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": MODERN,
    "Mcp-Method": "tools/call",
    "Mcp-Name": f"up__{ASKING}",
}
BEARER = {"Authorization": HEADERS["Authorization"]}


@dataclass(slots=True)
class Meter:
    """What is measured. Times are milliseconds; `answered_at` is by the caller's text."""

    statuses: Counter[int] = field(default_factory=Counter)
    answered_at: dict[str, float] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    to_result_ms: list[float] = field(default_factory=list)
    to_event_ms: list[float] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)
    peak_mb: float = 0.0
    cpu_ms: float = 0.0
    """Of the hub, for each question: four answers, and the call that goes on."""

    def wrong(self) -> list[str]:
        """Give the results that are not what the winner answered this very call."""
        return [
            f"{text}: {result[:200]}"
            for text, result in self.results.items()
            if result != f"{text} {text} {self.words.get(text)}"
        ]


@dataclass(frozen=True, slots=True)
class Question:
    id: str
    text: str
    asked_ns: int
    heard_ns: int


class Stage:
    """One hub, one server behind it, and everybody who talks to them."""

    def __init__(self, hub: Server, url: str, http: aiohttp.ClientSession) -> None:
        self.hub = hub
        self.url = url
        self.http = http
        self.meter = Meter()
        self.questions: asyncio.Queue[Question] = asyncio.Queue()

    async def call(self, text: str, *, is_measured: bool = True) -> None:
        """Make one call as an agent that can answer nothing, and come back until it is done."""
        params = {"name": f"up__{ASKING}", "arguments": {"text": text}, "_meta": META}
        message = {"jsonrpc": "2.0", "id": text, "method": "tools/call", "params": params}
        while True:
            async with self.http.post(f"{self.url}/mcp", json=message, headers=HEADERS) as answer:
                message_back = last_message(await answer.text())
            result = message_back.get("result", message_back)
            if result.get("resultType") != "input_required":
                break
            params["requestState"] = result["requestState"]
        done = time.perf_counter()
        if not is_measured:
            return
        content = result.get("content", [{}])[0].get("text", json.dumps(result))
        self.meter.results[text] = content
        answered_at = self.meter.answered_at.get(text)
        if answered_at is not None:  # else it ended without an answer: a wrong result
            self.meter.to_result_ms.append((done - answered_at) * 1e3)

    async def follow(self, is_over: asyncio.Event) -> None:
        """Hear of the questions, and look each of them up."""
        async with self.http.get(f"{self.url}/api/events", headers=BEARER) as stream:
            async for name, data in events(stream):
                if name == "elicitation_request":
                    heard = time.time_ns()
                    await self.questions.put(await self.look_up(data["request_id"], heard))
                if is_over.is_set():
                    return

    async def look_up(self, request_id: str, heard_ns: int) -> Question:
        path = f"{self.url}/api/elicitation/requests/{request_id}"
        async with self.http.get(path, headers=BEARER) as answer:
            body = await answer.json()
        asked_ns, text = body["question"]["message"].split(" ", 1)
        return Question(request_id, text, int(asked_ns), heard_ns)

    async def respond(self, question: Question, person: int) -> None:
        path = f"{self.url}/api/elicitation/requests/{question.id}/respond"
        word = f"person-{person}"
        body = {"action": "accept", "content": {"word": word}}
        self.meter.answered_at.setdefault(question.text, time.perf_counter())
        async with self.http.post(path, json=body, headers=BEARER) as answer:
            await answer.read()
        self.meter.statuses[answer.status] += 1
        if answer.status == 200:
            self.meter.words[question.text] = word

    async def answer_all(self, questions: list[Question], rate: float) -> None:
        """Have all people answer each question, so many questions a second."""
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number, question in enumerate(questions):
                await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
                for person in range(PEOPLE):
                    group.create_task(self.respond(question, person))

    async def watch_memory(self, is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            self.meter.peak_mb = max(self.meter.peak_mb, self.hub.rss_mb())
            await asyncio.sleep(0.1)

    async def gathered(self, count: int) -> list[Question]:
        async with asyncio.timeout(LIMIT_S):
            return [await self.questions.get() for _ in range(count)]


async def events(stream: aiohttp.ClientResponse) -> AsyncGenerator[tuple[str, dict]]:
    name = ""
    async for raw in stream.content:
        line = raw.decode().rstrip("\n")
        if line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            yield name, json.loads(line[5:])


def last_message(body: str) -> dict:
    """Give the answer of a JSON body or of a stream of events."""
    lines = [line[5:] for line in body.splitlines() if line.startswith("data:")]
    return json.loads(lines[-1] if lines else body)


async def many_waiting(stage: Stage, waiting: int, rate: float) -> None:
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(stage.call(f"call-{number}")) for number in range(waiting)]
        questions = [group.create_task(stage.gathered(waiting))]
        done, _ = await asyncio.wait(calls + questions, return_when=asyncio.FIRST_COMPLETED)
        if questions[0] not in done:
            raise RuntimeError(f"a call did not wait: {stage.meter.results}")
        spent = stage.hub.cpu_s()
        await stage.answer_all(questions[0].result(), rate)
        await asyncio.wait(calls)
        stage.meter.cpu_ms = round((stage.hub.cpu_s() - spent) * 1e3 / waiting, 2)


async def question_to_event(stage: Stage) -> None:
    """Raise one question after the other while others wait."""
    async with asyncio.TaskGroup() as group:
        for number in range(BACKGROUND):
            group.create_task(stage.call(f"behind-{number}", is_measured=False))
        behind = await stage.gathered(BACKGROUND)
        for number in range(PROBES):
            group.create_task(stage.call(f"probe-{number}", is_measured=False))
            (question,) = await stage.gathered(1)
            stage.meter.to_event_ms.append((question.heard_ns - question.asked_ns) / 1e6)
            await stage.respond(question, 0)
        for question in behind:
            await stage.respond(question, 0)


async def measure(hub: Server, url: str, options: argparse.Namespace) -> dict:
    connector = aiohttp.TCPConnector(limit=0)
    limits = aiohttp.ClientTimeout(total=None)
    is_over = asyncio.Event()
    async with aiohttp.ClientSession(connector=connector, timeout=limits) as http:
        stage = Stage(hub, url, http)
        async with asyncio.TaskGroup() as group:
            group.create_task(stage.watch_memory(is_over))
            follower = group.create_task(stage.follow(is_over))
            await asyncio.sleep(0.5)
            await many_waiting(stage, options.waiting, options.rate)
            decided = dict(stage.meter.statuses)
            await question_to_event(stage)
            is_over.set()
            follower.cancel()
    meter = stage.meter
    return {
        "waiting": options.waiting,
        "rate_per_s": options.rate,
        "decided": {str(status): count for status, count in sorted(decided.items())},
        "wrong_answers": meter.wrong(),
        "answer_to_result_ms": spread(meter.to_result_ms),
        "question_to_event_ms": spread(meter.to_event_ms),
        "hub_cpu_ms_per_question": meter.cpu_ms,
        "hub_peak_mb": meter.peak_mb,
    }


def spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }


def verdicts(figures: dict) -> dict[str, bool]:
    waiting = figures["waiting"]
    expected = {"200": waiting, "409": waiting * (PEOPLE - 1)}
    return {
        "each question is decided once": figures["decided"] == expected,
        "each answer reaches its own caller": not figures["wrong_answers"],
        "answer to result p99 < 100 ms": figures["answer_to_result_ms"]["p99"] < ANSWER_GOAL_MS,
        "question to event p99 < 50 ms": figures["question_to_event_ms"]["p99"] < EVENT_GOAL_MS,
        "hub below 200 MB": figures["hub_peak_mb"] < MEMORY_GOAL_MB,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=500)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with ExitStack() as stack:
        port, hub_port = free_port(), free_port()
        stack.callback(start_upstream(port, asking=True).stop)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hub = start_hub(hub_port, folder / "data")
        stack.callback(hub.stop)
        url = f"http://127.0.0.1:{hub_port}"
        wait_ready(f"http://127.0.0.1:{port}/mcp")
        wait_ready(f"{url}/readyz")
        register(url, "up", {"type": "streamable-http", "url": f"http://127.0.0.1:{port}/mcp"})
        figures = uvloop.run(measure(hub, url, options))
    figures["verdicts"] = verdicts(figures)
    text = json.dumps(figures, indent=2)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n")
    for name, holds in figures["verdicts"].items():
        print(f"{'yes' if holds else 'NO ':>4}  {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
