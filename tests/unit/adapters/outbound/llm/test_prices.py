"""Prices: exact to the digit, LiteLLM's sums, and an operator's file that is checked."""

import json
import random
import subprocess
import sys
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.adapters.outbound.llm.prices import LiteLlmPriceList
from agenthub.domain.entities.cost import PriceSnapshot, Tokens
from agenthub.domain.exceptions import InvalidError
from tests.fakes.clock import FakeClock

ROOT = Path(__file__).parents[5]
STEEP = """
["openai/steep"]
input_cost_per_token = 0.000003
output_cost_per_token = "0.000015"
cache_read_input_token_cost = 0.0000003
cache_creation_input_token_cost = 0.00000375
cache_creation_input_token_cost_above_1hr = 0.000006
input_cost_per_token_above_200k_tokens = 0.000006
output_cost_per_token_above_200k_tokens = 0.0000225
cache_read_input_token_cost_above_200k_tokens = 0.0000006

["openai/crumbs"]
input_cost_per_token = 0.0000000001
output_cost_per_token = 0.00000000000000000004
"""


def make(data_dir: Path, toml: str | None = None, own_file: Path | None = None) -> LiteLlmPriceList:
    if toml is not None:
        (data_dir / "prices.toml").write_text(toml)
    return LiteLlmPriceList(clock=FakeClock(), data_dir=data_dir, own_file=own_file)


async def opened(data_dir: Path, toml: str | None = None) -> LiteLlmPriceList:
    return await make(data_dir, toml).__aenter__()


def priced(prices: LiteLlmPriceList, model: str) -> PriceSnapshot:
    found = prices.price(model)
    assert found is not None
    return found


async def test_the_bundled_list_is_read_without_litellm(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from agenthub.adapters.outbound.clock.system import SystemClock\n"
        "from agenthub.adapters.outbound.llm.prices import LiteLlmPriceList\n"
        f"prices = LiteLlmPriceList(clock=SystemClock(), data_dir=Path({str(tmp_path)!r}))\n"
        "asyncio.run(prices.load())\n"
        "assert len(prices.models()) > 1000 and prices.price('gpt-4o')\n"
        "print('litellm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.stdout.strip() == "False", done.stderr


async def test_prices_are_the_digits_of_the_list(tmp_path: Path) -> None:
    body = priced(make(tmp_path), "gpt-4o").body
    assert body["steps"][0]["rates"]["input"] == "2500"
    assert body["steps"][0]["rates"]["cached_read"] == "1250"


async def test_a_provider_before_the_name_is_understood_only_where_it_is_that_one(
    tmp_path: Path,
) -> None:
    prices = make(tmp_path)
    assert priced(prices, "openai/gpt-4o").id == priced(prices, "gpt-4o").id
    assert prices.price("ollama/gpt-4o") is None
    assert prices.price("openai/never-heard-of") is None


@pytest.mark.parametrize("model", ["gemini/lyria-3-pro-preview", "rerank-v3.5"])
async def test_what_is_billed_otherwise_than_by_tokens_is_not_free(
    tmp_path: Path, model: str
) -> None:
    prices = make(tmp_path)
    assert prices.price(model) is None
    assert model not in prices.models()


@pytest.mark.parametrize("model", ["gemini/gemma-3-27b-it", "omni-moderation-latest"])
async def test_what_is_free_in_every_way_is_free(tmp_path: Path, model: str) -> None:
    prices = make(tmp_path)
    assert prices.cost_nano_usd(priced(prices, model), Tokens(prompt=9, completion=9)) == 0
    assert model in prices.models()


@pytest.mark.parametrize(
    ("tokens", "nano_usd"),
    [
        (Tokens(), 0),
        (Tokens(prompt=1), 3_000),
        (Tokens(prompt=1_000, cached_read=400, completion=10), 600 * 3_000 + 400 * 300 + 150_000),
        (Tokens(prompt=200_000, completion=1), 200_000 * 3_000 + 15_000),
        (Tokens(prompt=200_001, completion=1), 200_001 * 6_000 + 22_500),
        (Tokens(prompt=200_001, cached_read=200_001), 200_001 * 600),
        (Tokens(prompt=30, cache_write_5m=10, cache_write_1h=20), 10 * 3_750 + 20 * 6_000),
        (Tokens(prompt=10, completion=20, reasoning=15), 30_000 + 20 * 15_000),
        (Tokens(prompt=5, cached_read=9), 9 * 300),
    ],
)
async def test_a_call_costs_what_a_person_reckons(
    tmp_path: Path, tokens: Tokens, nano_usd: int
) -> None:
    prices = await opened(tmp_path, STEEP)
    assert prices.cost_nano_usd(priced(prices, "openai/steep"), tokens) == nano_usd


@pytest.mark.parametrize(("prompt", "nano_usd"), [(4, 0), (5, 1), (14, 1), (15, 2)])
async def test_the_sum_is_rounded_half_up_once(tmp_path: Path, prompt: int, nano_usd: int) -> None:
    prices = await opened(tmp_path, STEEP)
    crumbs = priced(prices, "openai/crumbs")
    assert prices.cost_nano_usd(crumbs, Tokens(prompt=prompt)) == nano_usd


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_no_digit_is_lost(prompt: int, completion: int) -> None:
    prices = make(Path("nowhere"))
    price = priced(prices, "gpt-4o-mini")
    exact = Decimal(150) * prompt + Decimal(600) * completion
    assert prices.cost_nano_usd(price, Tokens(prompt=prompt, completion=completion)) == exact


async def test_the_own_file_wins_and_its_id_is_its_content(tmp_path: Path) -> None:
    own = '["gpt-4o"]\ninput_cost_per_token = 1e-6\noutput_cost_per_token = 0\n'
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first, second = await opened(tmp_path / "one", own), await opened(tmp_path / "two", own)
    theirs = make(tmp_path)
    assert priced(first, "gpt-4o").id == priced(second, "gpt-4o").id
    assert priced(first, "openai/gpt-4o").body == priced(first, "gpt-4o").body
    assert priced(first, "gpt-4o").id != priced(theirs, "gpt-4o").id
    assert priced(first, "gpt-4o").source == "prices.toml"
    assert first.cost_nano_usd(priced(first, "gpt-4o"), Tokens(prompt=7, completion=9)) == 7_000


@pytest.mark.parametrize(
    ("toml", "loc"),
    [
        ("model = 3", ("model",)),
        ("[m]", ("m", "input_cost_per_token")),
        ("[m]\ninput_cost_per_token = 1e-6", ("m", "output_cost_per_token")),
        ("[m]\ninput_cost_per_token = -1e-6", ("m", "input_cost_per_token")),
        ("[m]\ninput_cost_per_token = nan", ("m", "input_cost_per_token")),
        ("[m]\ninput_cost_per_token = inf", ("m", "input_cost_per_token")),
        ("[m]\ninput_cost_per_token = true", ("m", "input_cost_per_token")),
        ("[m]\ninput_cost_per_token = 0.0025", ("m", "input_cost_per_token")),
        ("[m]\ninput_cost_per_token = 1e-999999", ("m", "input_cost_per_token")),
        ("[m]\ninput_cost_per_token = 'dear'", ("m", "input_cost_per_token")),
        ("[m]\ninput_cost_per_tokne = 1e-6", ("m", "input_cost_per_tokne")),
        ("[m", ()),
    ],
)
async def test_a_faulty_own_file_stops_the_start_and_says_where(
    tmp_path: Path, toml: str, loc: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidError) as caught:
        await opened(tmp_path, toml)
    assert caught.value.code == "prices_invalid"
    assert caught.value.faults[0].loc == ("prices.toml", *loc)


async def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as caught:
        await make(tmp_path, own_file=Path("else.toml")).__aenter__()
    assert caught.value.faults[0].loc == ("llm", "prices_file")


async def test_a_json_file_is_as_good(tmp_path: Path) -> None:
    entry = {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.001, "max_tokens": 5}
    (tmp_path / "prices.json").write_text(json.dumps({"m": entry}))
    prices = await opened(tmp_path)
    assert prices.cost_nano_usd(priced(prices, "m"), Tokens(prompt=3)) == 3_000


OWN = '["m"]\ninput_cost_per_token = {0}e-6\noutput_cost_per_token = {0}e-6\n'


async def reopened(
    data_dir: Path, own_file: Path | None = None
) -> tuple[LiteLlmPriceList, FakeClock]:
    clock = FakeClock()
    prices = LiteLlmPriceList(clock=clock, data_dir=data_dir, own_file=own_file)
    await prices.__aenter__()
    await prices.load()
    return prices, clock


async def test_a_changed_own_file_is_taken_up_while_the_hub_runs(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(OWN.format(1))
    prices, clock = await reopened(tmp_path)
    former = priced(prices, "m")
    file.write_text(OWN.format(20))
    await prices.load()
    assert priced(prices, "m") == former  # looked at a moment ago
    clock.advance(1)
    await prices.load()
    assert prices.cost_nano_usd(priced(prices, "m"), Tokens(prompt=1)) == 20_000
    assert prices.cost_nano_usd(former, Tokens(prompt=1)) == 1_000


async def test_an_own_file_may_come_and_go(tmp_path: Path) -> None:
    prices, clock = await reopened(tmp_path)
    assert prices.price("m") is None
    (tmp_path / "prices.toml").write_text(OWN.format(1))
    clock.advance(1)
    await prices.load()
    assert priced(prices, "m").source == "prices.toml"
    assert "m" in prices.models()
    (tmp_path / "prices.toml").unlink()
    clock.advance(1)
    await prices.load()
    assert prices.price("m") is None
    assert "m" not in prices.models()
    assert "gpt-4o" in prices.models()


@pytest.mark.parametrize("fault", ["[m", "[m]\ninput_cost_per_token = -1", None])
async def test_a_file_that_became_faulty_is_told_once_and_the_former_prices_hold(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str | None
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(OWN.format(1))
    prices, clock = await reopened(tmp_path, Path("mine.toml"))
    former = priced(prices, "m")
    if fault is None:
        file.unlink()
    else:
        file.write_text(fault)
    for _ in range(3):
        clock.advance(1)
        await prices.load()
    assert priced(prices, "m") == former
    assert len([one for one in caplog.records if one.levelname == "WARNING"]) == 1
    file.write_text(OWN.format(20))
    clock.advance(1)
    await prices.load()
    assert priced(prices, "m").id != former.id


async def test_a_deeply_nested_own_file_is_a_fault_like_another(tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text("[" * 200_000)
    with pytest.raises(InvalidError):
        await opened(tmp_path)


def mixed(dice: random.Random) -> Tokens:
    prompt = dice.choice([1, 2, 900, 128_000, 150_000, 200_001, 300_000, 600_000])
    cached = dice.choice([0, prompt // 3])
    written = dice.choice([0, prompt // 4])
    completion = dice.choice([0, 1, 77, 4_000])
    return Tokens(
        prompt=prompt,
        cached_read=cached,
        cache_write_5m=written,
        cache_write_1h=dice.choice([0, prompt // 7]) if written else 0,
        completion=completion,
        reasoning=dice.choice([0, completion // 2]),
    )


MODELS = [
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-5.5",
    "openai/gpt-5.5",
    "o1",
    "o3-mini",
    "claude-sonnet-5",
    "claude-opus-4-5",
    "anthropic/claude-sonnet-5",
    "claude-haiku-4-5",
    "gemini-3.5-flash",
    "gemini/gemini-2.5-flash",
    "gemini/gemini-2.5-pro",
    "gemini-2.5-pro",
    "vertex_ai/gemini-3.5-flash",
    "dashscope/qwen-flash",
    "mistral/mistral-large-latest",
    "groq/llama-3.3-70b-versatile",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-5",
    "gpt-5-mini",
    "openrouter/openai/gpt-4o",
    "azure/gpt-4o",
    "command-r-plus",
    "together_ai/deepseek-ai/DeepSeek-V3",
    "bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0",
    "gpt-4o-audio-preview",
    "xai/grok-4",
    "fireworks_ai/accounts/fireworks/models/deepseek-v3",
    "cerebras/llama3.1-8b",
]


def test_the_sums_are_those_of_litellm(tmp_path: Path) -> None:
    prices, dice = make(tmp_path), random.Random(7)
    known = [model for model in MODELS if prices.price(model) is not None]
    assert len(known) >= 24
    cases = [(model, mixed(dice)) for model in known for _ in range(12)]
    sent = json.dumps([(model, asdict(tokens)) for model, tokens in cases])
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.litellm_costs"],
        input=sent,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=55,
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])
    for (model, tokens), usd in zip(cases, theirs, strict=True):
        ours = prices.cost_nano_usd(priced(prices, model), tokens)
        assert usd is not None, model
        assert ours == pytest.approx(usd * 1e9, rel=1e-9, abs=0.6), (model, tokens)
