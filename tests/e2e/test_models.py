"""Asking models over REST and on the command line, with a provider that keeps its own books."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub_process import OWNER_TOKEN, HubProcess, RestAnswer
from tests.support.llm_provider import HELD, KEY, WORDS, LlmProvider, Mode
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

COMPLETE = "/api/models/complete"
HELLO = [{"role": "user", "content": "Hello, model."}]


@pytest.fixture(scope="module")
def provider() -> Iterator[LlmProvider]:
    with LlmProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def hub(provider: LlmProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    folder = tmp_path_factory.mktemp("models") / "data"
    folder.mkdir()
    (folder / "prices.toml").write_text(provider.prices())
    with HubProcess(folder, env=provider.settings()) as hub:
        yield hub
    log = folder.with_name("data.log").read_text()
    assert KEY not in log


def ask(hub: HubProcess, mode: Mode | None = None, **more: Any) -> RestAnswer:
    body = {"messages": HELLO, **({"model": f"openai/{mode}"} if mode else {}), **more}
    return hub.rest("POST", COMPLETE, body)


def entry(hub: HubProcess, entry_id: str) -> dict[str, Any]:
    items = hub.rest("GET", "/api/costs/entries?limit=200").body["items"]
    return next(one for one in items if one["id"] == entry_id)


@contextmanager
def told(hub: HubProcess, mode: Mode) -> Generator[Iterator[tuple[str, Any]]]:
    """The events of a streamed answer; leaving hangs up."""
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=30)
    body = {"messages": HELLO, "model": f"openai/{mode}", "stream": True}
    headers = {**hub.headers, "Content-Type": "application/json"}
    connection.request("POST", COMPLETE, json.dumps(body), headers)
    try:
        yield events(connection.getresponse())
    finally:
        connection.close()


def events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    assert answer.status == 200
    name = ""
    for line in answer:
        field, _, value = line.decode().strip().partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def test_an_answer_is_paid_for_to_the_nano_dollar(hub: HubProcess, provider: LlmProvider) -> None:
    answer = ask(hub)
    bill = provider.bills[answer.body["entry_id"]]
    assert answer.status == 200
    assert answer.body["text"] == "".join(WORDS)
    assert answer.body["cost_nano_usd"] == bill.nano_usd
    assert entry(hub, answer.body["entry_id"])["cost_nano_usd"] == bill.nano_usd


def test_a_streamed_answer_ends_with_its_cost(hub: HubProcess, provider: LlmProvider) -> None:
    with told(hub, Mode.CACHED) as heard:
        *texts, cost, done = heard
    assert [data["text"] for _, data in texts] == list(WORDS)
    assert [name for name, _ in (cost, done)] == ["cost", "done"]
    assert cost[1]["cost_nano_usd"] == provider.bills[done[1]["entry_id"]].nano_usd


async def test_a_client_that_hangs_up_pays_for_what_it_heard(
    hub: HubProcess, provider: LlmProvider
) -> None:
    before = provider.hung_up
    with told(hub, Mode.SLOW) as heard:
        assert [next(heard)[1]["text"] for _ in range(HELD)] == list(WORDS[:HELD])
    await eventually(lambda: provider.hung_up == before + 1)
    (call_id,) = [key for key, bill in provider.bills.items() if bill.is_aborted]
    await eventually(lambda: entry(hub, call_id)["status"] == "aborted")
    assert entry(hub, call_id)["cost_nano_usd"] == provider.bills[call_id].nano_usd


@pytest.mark.parametrize(
    ("mode", "status", "code"),
    [
        (Mode.LOCKED, 403, "model_unauthorized"),
        (Mode.BUSY, 429, "model_rate_limited"),
        (Mode.PICKY, 422, "model_refused_request"),
        (Mode.FAULT, 502, "model_fault"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_fault_before_the_first_word_is_a_problem(
    hub: HubProcess, mode: Mode, status: int, code: str, stream: bool
) -> None:
    answer = ask(hub, mode, stream=stream)
    assert (answer.status, answer.body["code"]) == (status, code)
    assert KEY not in json.dumps(answer.body)


def test_a_fault_behind_the_first_word_is_the_last_event(hub: HubProcess) -> None:
    with told(hub, Mode.CUT) as heard:
        *texts, last = heard
    assert [data["text"] for _, data in texts] == list(WORDS[:HELD])
    assert (last[0], last[1]["code"]) == ("error", "model_unavailable")


def test_an_unpriced_model_has_no_cost(hub: HubProcess) -> None:
    answer = ask(hub, Mode.UNKNOWN)
    assert (answer.body["cost_nano_usd"], answer.body["cost_usd"]) == (None, None)
    assert entry(hub, answer.body["entry_id"])["status"] == "unpriced"


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": [{"role": "nobody", "content": "x"}]},
        {"messages": HELLO, "max_tokens": 0},
        {"messages": HELLO, "max_tokens": -1},
        {"messages": HELLO, "temperature": 3},
        {"messages": HELLO, "model": ""},
        {"messages": HELLO, "model": "openai/fake plain\n"},
        {"messages": HELLO, "model": "anthropic/claude-sonnet-5"},
        {"messages": HELLO, "modle": "typo"},
        {"messages": [{"role": "user", "content": [{"type": "no such part"}]}]},
    ],
)
def test_bad_input_is_told_by_its_field_and_costs_nothing(
    hub: HubProcess, provider: LlmProvider, body: dict[str, Any]
) -> None:
    before = len(provider.requests)
    answer = hub.rest("POST", COMPLETE, body)
    assert answer.status == 422, answer.body
    assert answer.body["errors"]
    assert len(provider.requests) == before


def test_models_are_listed_with_prices_the_own_first(hub: HubProcess) -> None:
    items = hub.rest("GET", "/api/models?limit=3").body["items"]
    assert items[0] == {
        "name": "openai/fake-plain",
        "is_default": True,
        "input_usd_per_million": "2.50",
        "output_usd_per_million": "10.00",
    }
    assert len(items) == 3
    found = hub.rest("GET", "/api/models?query=claude%20sonnet%205").body["items"]
    assert "claude-sonnet-5" in [one["name"] for one in found]


def test_the_command_line_prints_the_answer_and_the_cost_beside_it(hub: HubProcess) -> None:
    done = agenthub(hub, "ask", "Hello?")
    assert (done.returncode, done.stdout) == (0, "".join(WORDS) + "\n")
    assert " USD (" in done.stderr
    assert "openai/fake-plain *" in agenthub(hub, "models", "fake-plain").stdout
    refused = agenthub(hub, "ask", "Hello?", "--model", "openai/fake-fault")
    assert (refused.returncode, refused.stdout) == (1, "")


def test_without_a_model_the_answer_names_the_setting(tmp_path: Path) -> None:
    with HubProcess(tmp_path / "data") as bare:
        for stream in (False, True):
            answer = ask(bare, stream=stream)
            assert (answer.status, answer.body["code"]) == (409, "model_not_configured")
            assert "AGENTHUB_LLM__MODEL" in answer.body["detail"]
        modules = Path(f"/proc/{bare.pid}/maps").read_text()
    assert "tiktoken" not in modules


def agenthub(hub: HubProcess, *words: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AGENTHUB_")}
    return subprocess.run(
        [sys.executable, "-m", "agenthub", "--data-dir", str(hub.data_dir), *words],
        env={**clean, "AGENTHUB_OWNER_TOKEN": OWNER_TOKEN},
        capture_output=True,
        text=True,
        timeout=60,
    )
