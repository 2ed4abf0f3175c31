"""Answers in the place of one that could not be had; they say what they are."""

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.exceptions import ErrorKind, HubError
from agenthub.domain.ports.outbound.mcp_client import Answer, RawObject

MARK = "agenthub/fallback"
MAX_ANSWERS = 1_000
MAX_ANSWER_BYTES = 256 * 1024
MAX_BYTES = 16 * 1024 * 1024

_MENDABLE = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT, ErrorKind.UPSTREAM})
_FULL = frozenset({"server_paused", "server_rate_limited"})
"""What a server wants, and not the hub: there its limits are meant."""


def calls_for_fallback(error: BaseException) -> bool:
    """Say whether another answer may stand in: the server failed, not the caller."""
    return isinstance(error, HubError) and (error.kind in _MENDABLE or error.code in _FULL)


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Answer
    at: float


class LastAnswers:
    """The last good answer to each call, for one caller alone: answers may be private."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._bytes = 0

    def keep(
        self, subject: str, target: Target, params: RawObject, answer: Answer, now: float
    ) -> None:
        if len(answer.result) > MAX_ANSWER_BYTES:
            return
        key = _key(subject, target, params)
        self._drop(key)
        self._kept[key] = _Kept(answer, now)
        self._bytes += len(answer.result)
        while len(self._kept) > MAX_ANSWERS or self._bytes > MAX_BYTES:
            self._drop(next(iter(self._kept)))

    def find(
        self, subject: str, target: Target, params: RawObject, max_age_s: float, now: float
    ) -> tuple[Answer, float] | None:
        """Give the answer and its age in seconds, None where there is none young enough."""
        kept = self._kept.get(_key(subject, target, params))
        if kept is None or now - kept.at > max_age_s:
            return None
        return kept.answer, now - kept.at

    def _drop(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= len(kept.answer.result)


def marked(answer: Answer, facts: dict[str, Any], words: str) -> Answer:
    """Have an answer say that it is a fallback: in `_meta` for programs, in text for models."""
    result: Any = json.loads(answer.result)
    if not isinstance(result, dict):
        return answer
    said: dict[str, Any] = {**result}
    meta: Any = said.get("_meta")
    said["_meta"] = {**(meta if isinstance(meta, dict) else {}), MARK: facts}
    content: Any = said.get("content")
    if isinstance(content, list):
        said["content"] = [*content, {"type": "text", "text": words}]
    return replace(answer, result=json.dumps(said, ensure_ascii=False).encode())


def _key(subject: str, target: Target, params: RawObject) -> bytes:
    digest = hashlib.sha256(f"{subject}\0{target.endpoint_id}\0{target.key}\0".encode())
    digest.update(params.get("arguments", b"{}"))
    return digest.digest()
