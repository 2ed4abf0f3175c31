"""A streamed answer, put together from LiteLLM's parts, and what it was told to have used."""

from collections.abc import Iterable, Mapping
from typing import Any

from agenthub.domain.entities.cost import Tokens
from agenthub.domain.exceptions import InvalidError, UpstreamError
from agenthub.domain.ports.outbound.llm import ModelChunk

MOST_TOKENS = 1_000_000_000
"""No call has used more; a provider that says so is not believed."""


class Answer:
    """Collects the tool calls of one answer and hands its text on."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, Any]] = {}
        self._usage: Any = None
        self._model = ""

    def take(self, part: Any) -> ModelChunk | None:
        """Read one part of LiteLLM's; None where it adds nothing to show yet."""
        self._usage = getattr(part, "usage", None) or self._usage
        self._model = _hidden(part).get("provider_response_model") or self._model
        if not part.choices:
            return None
        delta = part.choices[0].delta
        for piece in getattr(delta, "tool_calls", None) or ():
            self._add(piece)
        text = getattr(delta, "content", None) or ""
        reasoning = getattr(delta, "reasoning_content", None) or ""
        return ModelChunk(text=text, reasoning=reasoning) if text or reasoning else None

    def end(self, response: Any) -> ModelChunk:
        """Make the last chunk. Raises UpstreamError for an answer that broke off.

        LiteLLM makes up a finish reason and a usage where the provider sent none; what came from
        the provider stands in `received_finish_reason` and in `chunks`.
        """
        reason = response.received_finish_reason or response.intermittent_finish_reason
        if not reason:
            raise UpstreamError("The model's answer broke off.", code="model_fault")
        told = [one.usage for one in response.chunks if getattr(one, "usage", None) is not None]
        usage = told[0] if len(told) == 1 else self._usage
        return ModelChunk(
            tool_calls=tuple(self._calls[index] for index in sorted(self._calls)),
            finish_reason=str(reason),
            model=str(self._model or response.model or "") or None,
            tokens=tokens_of(usage) if told else None,
        )

    def _add(self, piece: Any) -> None:
        call = self._calls.setdefault(
            piece.index, {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
        )
        call["id"] = piece.id or call["id"]
        call["function"]["name"] += piece.function.name or ""
        call["function"]["arguments"] += piece.function.arguments or ""


def _hidden(part: Any) -> Mapping[str, Any]:
    """Give what LiteLLM keeps beside a part; there is no public way to it."""
    return getattr(part, "_hidden_params", None) or {}


def tokens_of(usage: Any) -> Tokens | None:
    """Read a usage; None for one that cannot be true."""
    into, out = _part(usage, "prompt_tokens_details"), _part(usage, "completion_tokens_details")
    split = _part(into, "cache_creation_token_details")
    written = _count(into, "cache_write_tokens", "cache_creation_tokens")
    long = _count(split, "ephemeral_1h_input_tokens")
    short = _count(split, "ephemeral_5m_input_tokens") if split is not None else written
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    reasoning = _count(out, "reasoning_tokens")
    if reasoning and _count(usage, "total_tokens") == prompt + completion + reasoning:
        completion += reasoning  # told beside the completion instead of in it
    counts = (prompt, completion, reasoning, short, long, *_rest(into, out))
    if not _are_plausible(counts):
        return None
    cached, audio_in, audio_out = _rest(into, out)
    try:
        return Tokens(
            prompt=prompt,
            cached_read=cached,
            cache_write_5m=short,
            cache_write_1h=long,
            completion=completion,
            reasoning=reasoning,
            audio_in=audio_in,
            audio_out=audio_out,
        )
    except InvalidError:
        return None


def _rest(into: Any, out: Any) -> tuple[int, int, int]:
    return (
        _count(into, "cached_tokens"),
        _count(into, "audio_tokens"),
        _count(out, "audio_tokens"),
    )


def _are_plausible(counts: Iterable[int]) -> bool:
    return all(0 <= count <= MOST_TOKENS for count in counts)


def _part(whole: Any, name: str) -> Any:
    return whole.get(name) if isinstance(whole, dict) else getattr(whole, name, None)  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]


def _count(whole: Any, *names: str) -> int:
    """Give the first count told; -1 for what is no whole number."""
    for name in names:
        value = _part(whole, name)
        if value:
            return value if isinstance(value, int) and not isinstance(value, bool) else -1
    return 0
