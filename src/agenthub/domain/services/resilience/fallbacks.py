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

_SLICER = json.JSONDecoder(parse_int=str, parse_float=str)
_SPACES = frozenset(" \t\r\n")
_MENDABLE = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT, ErrorKind.UPSTREAM})
_FULL = frozenset({"server_paused", "server_rate_limited"})
"""What a server wants, and not the hub: there its limits are meant."""
_OWN = frozenset({"storage_busy", "storage_outdated", "storage_unavailable"})
"""The hub's own troubles: who could not be asked has not let anything pass."""


def calls_for_fallback(error: BaseException) -> bool:
    """Say whether another answer may stand in: the server failed, not the caller."""
    if not isinstance(error, HubError) or error.code in _OWN:
        return False
    return error.kind in _MENDABLE or error.code in _FULL


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
    """Have an answer say that it is a fallback: in `_meta` for programs, in text for models.

    All else stays as the server wrote it.
    """
    members = _members(answer.result.decode())
    if members is None:
        return answer
    meta = _members(members.get("_meta", "{}")) or {}
    members["_meta"] = _object({**meta, MARK: json.dumps(facts)})
    content = members.get("content", "").rstrip()
    if content.startswith("["):
        more = json.dumps({"type": "text", "text": words})
        comma = "" if content[1:-1].isspace() or content == "[]" else ","
        members["content"] = f"{content[:-1]}{comma}{more}]"
    return replace(answer, result=_object(members).encode())


def _members(text: str) -> dict[str, str] | None:
    """Slice a JSON object into its members' own text; None where it is no object.

    Nothing is decoded and written anew: numbers and broken surrogates would not survive.
    """
    at = _start(text, 0)
    if not text.startswith("{", at):
        return None
    members: dict[str, str] = {}
    at = _start(text, at + 1)
    while not text.startswith("}", at):
        name, at = _SLICER.raw_decode(text, at)
        start = _start(text, _start(text, at) + 1)
        _, at = _SLICER.raw_decode(text, start)
        members[name] = text[start:at]
        at = _start(text, at)
        at = _start(text, at + text.startswith(",", at))
    return members


def _start(text: str, at: int) -> int:
    """Give where the next token begins."""
    while text[at : at + 1] in _SPACES:
        at += 1
    return at


def _object(members: dict[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in members.items()) + "}"


def _key(subject: str, target: Target, params: RawObject) -> bytes:
    digest = hashlib.sha256(f"{subject}\0{target.endpoint_id}\0{target.key}\0".encode())
    digest.update(params.get("arguments", b"{}"))
    return digest.digest()
