"""The adapter of LiteLLM against a provider on loopback: streams, faults, hang-ups, secrets."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import Any

import pytest
from pydantic import SecretStr

from agenthub.adapters.outbound.http.aiohttp import AiohttpClient
from agenthub.adapters.outbound.llm.litellm import LiteLlm
from agenthub.domain.entities.cost import Tokens
from agenthub.domain.exceptions import (
    DeniedError,
    HubError,
    InvalidError,
    QuotaError,
    TimedOutError,
    UnavailableError,
    UpstreamError,
)
from agenthub.domain.ports.outbound.llm import ModelChunk, ModelRequest
from tests.support.llm_provider import HELD, KEY, WORDS, LlmProvider, Mode
from tests.support.waiting import eventually, soon

HELLO = [{"role": "user", "content": "Hello, model."}]
TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),  # LiteLLM's own
]


@pytest.fixture(scope="module")
def provider() -> Generator[LlmProvider]:
    with LlmProvider() as provider:
        yield provider


@pytest.fixture
async def http() -> AsyncGenerator[AiohttpClient]:
    async with AiohttpClient(allow_private=True) as http:
        yield http


@pytest.fixture
async def llm(provider: LlmProvider, http: AiohttpClient) -> AsyncGenerator[LiteLlm]:
    async with made(http, provider.address) as llm:
        await soon(llm.count_text("openai/fake-plain", "warm"), within_s=50)
        yield llm


def made(http: AiohttpClient, address: str | None, model: str = "openai/fake-plain") -> LiteLlm:
    return LiteLlm(api_base=address, api_key=SecretStr(KEY), http=http, model=model)


def request(mode: Mode = Mode.PLAIN, **more: Any) -> ModelRequest:
    more = {"messages": HELLO, "max_tokens": 100, "timeout_s": 20.0, **more}
    return ModelRequest(model=f"openai/{mode}", **more)


async def all_of(llm: LiteLlm, wanted: ModelRequest) -> list[ModelChunk]:
    async with aclosing(llm.complete(wanted)) as chunks:
        return await soon(listed(chunks), within_s=20)


async def listed(chunks: AsyncGenerator[ModelChunk]) -> list[ModelChunk]:
    return [chunk async for chunk in chunks]


async def fault_of(llm: LiteLlm, wanted: ModelRequest) -> HubError:
    with pytest.raises(HubError) as caught:
        await all_of(llm, wanted)
    return caught.value


async def test_an_answer_comes_in_parts_and_ends_with_what_it_used(
    llm: LiteLlm, provider: LlmProvider
) -> None:
    *parts, last = await all_of(llm, request(call_id="plain"))
    assert [part.text for part in parts] == list(WORDS)
    bill = provider.bills["plain"]
    assert last.tokens == Tokens(prompt=bill.prompt, completion=bill.completion)
    assert (last.finish_reason, last.model) == ("stop", "fake-plain-2026")
    assert provider.calls["plain"] == 1


async def test_cached_tokens_are_told_apart(llm: LiteLlm, provider: LlmProvider) -> None:
    last = (await all_of(llm, request(Mode.CACHED, call_id="cached")))[-1]
    assert last.tokens is not None
    assert last.tokens.cached_read == provider.bills["cached"].cached > 0


async def test_tool_calls_come_whole_with_the_end(llm: LiteLlm, provider: LlmProvider) -> None:
    last = (await all_of(llm, request(Mode.TOOLS, tools=[TOOL])))[-1]
    called = [(one["id"], one["function"]) for one in last.tool_calls]
    assert called == [
        ("a", {"name": "add", "arguments": '{"x": 1}'}),
        ("b", {"name": "sub", "arguments": "{}"}),
    ]
    assert provider.requests[-1]["body"]["tools"] == [TOOL]


async def test_a_choice_of_tools_goes_with_tools_only(llm: LiteLlm, provider: LlmProvider) -> None:
    await all_of(llm, request(Mode.TOOLS, tools=[TOOL], tool_choice="required"))
    assert provider.requests[-1]["body"]["tool_choice"] == "required"
    await all_of(llm, request(tool_choice="required"))
    assert "tool_choice" not in provider.requests[-1]["body"]


async def test_pictures_and_sounds_go_as_the_data_they_came_as(
    llm: LiteLlm, provider: LlmProvider
) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "See."}, picture, sound]}]
    wanted = request(messages=messages, stop=("END",))
    with_pictures = await llm.count(wanted)
    assert with_pictures > await llm.count(request(messages=[{"role": "user", "content": "See."}]))
    await all_of(llm, wanted)
    body = provider.requests[-1]["body"]
    assert (body["messages"], body["stop"]) == (messages, ["END"])


async def test_nothing_is_counted_for_a_model_of_another_provider(llm: LiteLlm) -> None:
    with pytest.raises(InvalidError) as caught:
        await llm.count(ModelRequest(model="anthropic/claude-sonnet-5", messages=HELLO))
    assert caught.value.code == "model_unknown"


@pytest.mark.parametrize("mode", [Mode.NO_USAGE, Mode.NEGATIVE, Mode.HUGE])
async def test_usage_that_is_not_told_or_cannot_be_true_is_none(llm: LiteLlm, mode: Mode) -> None:
    last = (await all_of(llm, request(mode)))[-1]
    assert last.finish_reason == "stop"
    assert last.tokens is None


@pytest.mark.parametrize(
    ("mode", "kind", "code"),
    [
        (Mode.LOCKED, DeniedError, "model_unauthorized"),
        (Mode.BUSY, QuotaError, "model_rate_limited"),
        (Mode.PICKY, InvalidError, "model_refused_request"),
        (Mode.MISSING, InvalidError, "model_unknown"),
        (Mode.FAULT, UpstreamError, "model_fault"),
        (Mode.CUT, HubError, "model_unavailable"),
        (Mode.GARBAGE, UpstreamError, "model_fault"),
        (Mode.REDIRECT, UpstreamError, "model_fault"),
    ],
)
async def test_a_fault_of_the_provider_is_told_in_our_words_and_once(
    llm: LiteLlm, provider: LlmProvider, mode: Mode, kind: type[HubError], code: str
) -> None:
    error = await fault_of(llm, request(mode, call_id=f"fault-{mode}"))
    assert isinstance(error, kind)
    assert (error.code, provider.calls[f"fault-{mode}"]) == (code, 1)
    assert error.reached_server
    assert (error.http_status is None) == (mode in {Mode.CUT, Mode.GARBAGE})


async def test_a_busy_provider_says_when_to_come_back(llm: LiteLlm) -> None:
    assert (await fault_of(llm, request(Mode.BUSY))).retry_after_s == 7


async def test_no_secret_is_told_or_logged(llm: LiteLlm, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await all_of(llm, request())
    for mode in (Mode.LOCKED, Mode.PICKY, Mode.FAULT):
        error = await fault_of(llm, request(mode))
        assert KEY not in f"{error} {error!r} {error.__cause__!r}"
        assert error.__suppress_context__
    assert KEY not in caplog.text
    assert KEY not in repr(vars(llm))


async def test_closing_an_answer_hangs_up_at_once(llm: LiteLlm, provider: LlmProvider) -> None:
    before = provider.hung_up
    answer = llm.complete(request(Mode.SLOW, call_id="left"))
    heard = [(await soon(anext(answer))).text for _ in range(HELD)]
    await soon(answer.aclose())
    assert tuple(heard) == WORDS[:HELD]
    await eventually(lambda: provider.hung_up == before + 1)
    assert provider.bills["left"].is_aborted


async def test_cancelling_the_reader_hangs_up(llm: LiteLlm, provider: LlmProvider) -> None:
    before = provider.hung_up
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(all_of(llm, request(Mode.SLOW)))
        await eventually(lambda: provider.waiting == 1)
        reading.cancel()
    await eventually(lambda: provider.hung_up == before + 1)


async def test_a_silent_provider_is_given_up(llm: LiteLlm) -> None:
    error = await fault_of(llm, request(Mode.SLOW, timeout_s=0.3))
    assert isinstance(error, TimedOutError)
    assert error.code == "model_timeout"


async def test_nobody_there_means_nothing_was_spent(http: AiohttpClient) -> None:
    async with made(http, "http://127.0.0.1:1/v1") as llm:
        error = await fault_of(llm, request())
    assert isinstance(error, UnavailableError)
    assert (error.code, error.reached_server) == ("model_unavailable", False)


@pytest.mark.parametrize("model", ["openai/fake-plain", "anthropic/claude-sonnet-5", "groq/x"])
@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "10.0.0.1"])
async def test_every_provider_is_reached_through_the_guarded_way_out(model: str, host: str) -> None:
    async with (
        AiohttpClient(allow_private=False) as http,
        made(http, f"http://{host}:9/v1", model) as llm,
    ):
        wanted = ModelRequest(messages=HELLO, model=model, max_tokens=5)
        error = await fault_of(llm, wanted)
    assert (error.code, error.reached_server) == ("model_unavailable", False)
    assert "never used" in error.message or "not allowed" in error.message


@pytest.mark.parametrize(
    "model", ["anthropic/claude-sonnet-5", "nobody/model", "gpt", "huggingface/https://evil/x"]
)
async def test_another_provider_than_the_hubs_own_gets_neither_request_nor_key(
    llm: LiteLlm, provider: LlmProvider, model: str
) -> None:
    before = len(provider.requests)
    error = await fault_of(llm, ModelRequest(messages=HELLO, model=model, max_tokens=5))
    assert isinstance(error, InvalidError)
    assert (error.code, len(provider.requests)) == ("model_unknown", before)


async def test_a_key_of_the_environment_is_not_sent_to_a_configured_address(
    http: AiohttpClient, provider: LlmProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    model = "openai/fake-plain"
    async with LiteLlm(api_base=provider.address, api_key=None, http=http, model=model) as llm:
        await all_of(llm, request())
    assert "somebody" not in str(provider.requests[-1]["headers"])


async def test_a_model_that_litellm_does_not_know_is_told_with_every_call(
    http: AiohttpClient,
) -> None:
    async with made(http, None, "my-own-model") as llm:
        assert (await fault_of(llm, request())).code == "model_unknown"


async def test_prompts_are_counted_as_the_provider_counts_them_and_never_lower(
    llm: LiteLlm, provider: LlmProvider
) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why? " * 9},
    ]
    assert await llm.count(request(messages=messages)) == provider.count_prompt(messages)
    long = [{"role": "user", "content": "Nothing is counted on the loop. " * 1_000}]
    exact = provider.count_prompt(long)
    assert exact <= await llm.count(request(messages=long)) <= 1.01 * exact


async def test_a_picture_is_never_fetched_to_count_it(llm: LiteLlm) -> None:
    picture = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}
    assert await llm.count(request(messages=[{"role": "user", "content": [picture]}])) > 0


@pytest.mark.parametrize("model", ["anthropic/claude-sonnet-5", "openai/fake-plain"])
async def test_the_hub_never_fetches_what_a_message_points_to(
    http: AiohttpClient, model: str
) -> None:
    knocked = asyncio.Event()

    async def knock(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        knocked.set()
        writer.close()

    secret = await asyncio.start_server(knock, "127.0.0.1", 0)
    port = secret.sockets[0].getsockname()[1]
    picture = {"type": "image_url", "image_url": {"url": f"http://127.0.0.1:{port}/secret.png"}}
    messages = [{"role": "user", "content": [picture]}]
    async with secret, made(http, "http://127.0.0.1:1/v1", model) as llm:
        await fault_of(llm, ModelRequest(messages=messages, model=model, max_tokens=5))
    assert not knocked.is_set()
