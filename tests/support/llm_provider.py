"""An OpenAI-compatible provider on loopback that keeps its own books, to the nano-dollar.

with LlmProvider() as provider:
    hub = HubProcess(dir, env=provider.settings("fake-plain"))
    provider.bills[entry_id].nano_usd

A model's name says how it behaves: see `Mode`. Bills stand under the hub's `X-Client-Request-Id`.
"""

import asyncio
import importlib.util
import json
import os
import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from aiohttp import web

KEY = "sk-very-secret-key-of-the-tests-0123456789"
INPUT_NANO, CACHED_NANO, OUTPUT_NANO = 2_500, 250, 10_000
CACHED_SHARE = 4
"""The cached model has one token of so many in its cache."""
PER_MESSAGE, PRIMING = 3, 3
"""What a chat's frame costs in tokens: each message, and the start of the answer."""


class Mode(StrEnum):
    """What a model does, by its name."""

    PLAIN = "fake-plain"
    CACHED = "fake-cached"
    SLOW = "fake-slow"  # says HELD words, then waits for `release` or for the other end to hang up
    CUT = "fake-cut"  # hangs up in the middle of its answer
    FAULT = "fake-fault"
    BUSY = "fake-busy"
    LOCKED = "fake-locked"
    MISSING = "fake-missing"
    REDIRECT = "fake-redirect"
    PICKY = "fake-picky"
    GARBAGE = "fake-garbage"
    TOOLS = "fake-tools"
    NO_USAGE = "fake-no-usage"
    NEGATIVE = "fake-negative"
    HUGE = "fake-huge"
    UNKNOWN = "fake-unknown"  # has no price at the hub


HELD = 3
WORDS = ("Every ", "call ", "is ", "counted ", "once, ", "and ", "paid ", "for.")
STATUS = {
    Mode.FAULT: 500,
    Mode.BUSY: 429,
    Mode.LOCKED: 401,
    Mode.MISSING: 404,
    Mode.PICKY: 400,
}


@dataclass(slots=True)
class Bill:
    """What one call used and costs here."""

    model: str
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    is_aborted: bool = False

    @property
    def nano_usd(self) -> int:
        fresh = self.prompt - self.cached
        return fresh * INPUT_NANO + self.cached * CACHED_NANO + self.completion * OUTPUT_NANO


@dataclass(slots=True)
class _Call:
    bill: Bill
    body: dict[str, Any]
    sent: list[str] = field(default_factory=list[str])


class LlmProvider:
    """Runs in a thread of its own."""

    def __init__(self) -> None:
        self.bills: dict[str, Bill] = {}
        self.calls: Counter[str] = Counter()
        """Requests under each id: a second one would be a retry that nobody counts."""
        self.requests: list[dict[str, Any]] = []
        self.waiting = 0
        self.hung_up = 0
        self._count = _token_counter()
        self._loop = asyncio.new_event_loop()
        self._released = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="llm-provider", daemon=True)
        self.port = 0

    def __enter__(self) -> "LlmProvider":
        self._thread.start()
        assert self._started.wait(10), "the provider does not start"
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def release(self) -> None:
        """Let every slow answer go on, now and later."""
        self._loop.call_soon_threadsafe(self._released.set)

    def settings(self, model: Mode = Mode.PLAIN) -> dict[str, str]:
        """The hub's environment for this provider."""
        return {
            "AGENTHUB_LLM__MODEL": f"openai/{model}",
            "AGENTHUB_LLM__API_BASE": self.address,
            "AGENTHUB_LLM__API_KEY": KEY,
        }

    @staticmethod
    def prices() -> str:
        """Its price list as the hub's `prices.toml`."""
        lines = [
            f'["openai/{mode}"]\n'
            f"input_cost_per_token = 0.{INPUT_NANO:09}\n"
            f"cache_read_input_token_cost = 0.{CACHED_NANO:09}\n"
            f"output_cost_per_token = 0.{OUTPUT_NANO:09}\n"
            for mode in Mode
            if mode is not Mode.UNKNOWN
        ]
        return "\n".join(lines)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner = self._loop.run_until_complete(self._start())
        self._started.set()
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(runner.cleanup())
            self._loop.close()

    async def _start(self) -> web.AppRunner:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1_024)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        call_id = request.headers.get("X-Client-Request-Id", "")
        self.calls[call_id] += 1
        self.requests.append({"headers": dict(request.headers), "body": body})
        mode = Mode(body["model"])
        if mode in STATUS:
            words = {"error": {"message": f"No, {KEY} will not do.", "type": "refused"}}
            return web.json_response(words, status=STATUS[mode], headers={"Retry-After": "7"})
        if mode is Mode.REDIRECT:
            raise web.HTTPTemporaryRedirect("http://127.0.0.1:9/else")
        call = _Call(Bill(mode, prompt=self.count_prompt(body["messages"])), body)
        if mode is Mode.CACHED:
            call.bill.cached = call.bill.prompt // CACHED_SHARE
        self.bills[call_id] = call.bill
        try:
            return await self._stream(request, mode, call)
        except (asyncio.CancelledError, ConnectionError):
            call.bill.is_aborted = True
            self.hung_up += 1
            raise
        finally:
            call.bill.completion = self._count("".join(call.sent))

    async def _stream(self, request: web.Request, mode: Mode, call: _Call) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        if mode is Mode.GARBAGE:
            await answer.write(b"data: {no json\n\n")
            return answer
        for number, word in enumerate(WORDS):
            if number == HELD and mode is Mode.SLOW:
                await self._hold()
            if number == HELD and mode is Mode.CUT:
                assert request.transport is not None
                request.transport.close()
                return answer
            call.sent.append(word)
            await answer.write(_event(call, {"content": word}))
        if mode is Mode.TOOLS:
            for delta in _tool_deltas():
                await answer.write(_event(call, delta))
        await answer.write(_event(call, {}, finish="stop"))
        usage = self._usage(mode, call)
        if usage is not None:
            await answer.write(_event(call, None, usage=usage))
        await answer.write(b"data: [DONE]\n\n")
        return answer

    async def _hold(self) -> None:
        self.waiting += 1
        try:
            await self._released.wait()
        finally:
            self.waiting -= 1

    def count_prompt(self, messages: list[dict[str, Any]]) -> int:
        """Count a prompt of plain texts as OpenAI does."""
        texts = [str(value) for message in messages for value in message.values()]
        return sum(map(self._count, texts)) + PER_MESSAGE * len(messages) + PRIMING

    def _usage(self, mode: Mode, call: _Call) -> dict[str, Any] | None:
        completion = self._count("".join(call.sent))
        match mode:
            case Mode.NO_USAGE:
                return None
            case Mode.NEGATIVE:
                completion = -1_000_000
            case Mode.HUGE:
                completion = 10**15
            case _:
                pass
        bill = call.bill
        return {
            "prompt_tokens": bill.prompt,
            "completion_tokens": completion,
            "total_tokens": bill.prompt + completion,
            "prompt_tokens_details": {"cached_tokens": bill.cached},
        }


def _event(
    call: _Call,
    delta: dict[str, Any] | None,
    *,
    finish: str | None = None,
    usage: dict[str, Any] | None = None,
) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    part: dict[str, Any] = {
        "id": "answer",
        "object": "chat.completion.chunk",
        "created": 1_750_000_000,
        "model": f"{call.bill.model}-2026",
        "choices": choices,
    }
    if usage is not None:
        part["usage"] = usage
    return b"data: " + json.dumps(part).encode() + b"\n\n"


def _tool_deltas() -> list[dict[str, Any]]:
    """Two calls of tools, told in pieces that interleave."""
    return [
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "add"}}]},
        {"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "sub"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
    ]


def _token_counter() -> Any:
    """The tokenizer that LiteLLM takes for these names, from the file it brings along."""
    spec = importlib.util.find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    tokenizers = Path(spec.origin).parent / "litellm_core_utils" / "tokenizers"
    os.environ["TIKTOKEN_CACHE_DIR"] = str(tokenizers)
    import tiktoken  # noqa: PLC0415  after the setting that it reads

    encoding = tiktoken.get_encoding("cl100k_base")
    return lambda text: len(encoding.encode(text))
