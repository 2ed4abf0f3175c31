"""A hub's REST interface in memory, a person at a terminal, and the commands between them."""

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import typer

from agenthub.adapters.inbound.cli.app import execute
from agenthub.adapters.inbound.cli.commands import calls, inbox, rules
from agenthub.adapters.inbound.cli.connection import Answer, Connection
from agenthub.adapters.inbound.cli.inbox.questions import KINDS
from agenthub.adapters.inbound.cli.inbox.terminal import Terminal
from agenthub.adapters.inbound.cli.output import Failure
from agenthub.adapters.inbound.cli.remote import Remote
from agenthub.adapters.inbound.cli.session import Session
from tests.fakes.clock import FakeClock

TTL = timedelta(minutes=10)
FORM = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2, "description": "As on the card."},
        "seats": {"type": "integer", "minimum": 1, "maximum": 9, "default": 2},
        "food": {"type": "array", "items": {"type": "string", "enum": ["meat", "fish"]}},
    },
    "required": ["name"],
}
ANSWER = {"role": "assistant", "model": "m-1", "content": {"type": "text", "text": "Four."}}
_MOVES = {
    "approve": "approved",
    "deny": "rejected",
    "reject": "rejected",
    "respond": "completed",
    "deliver": "completed",
}


def refused(status: int, code: str, *errors: tuple[list[str], str]) -> Failure:
    """Make a refusal of the hub."""
    faults = [{"loc": loc, "message": message} for loc, message in errors]
    told = "\n".join((code, *(message for _, message in errors)))
    return Failure(told, problem={"status": status, "code": code, "errors": faults})


class FakeRest(Connection):
    """Keeps questions and moves them as the hub does; all else is answered as it was told to."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.questions: dict[str, dict[str, Any]] = {}
        self.sent: list[tuple[str, Any]] = []
        self.refusals: list[Failure] = []
        self.answers: dict[str, list[Answer | BaseException]] = {}
        self.feeds: list[list[dict[str, Any] | BaseException | None]] = []
        self.looks_until_answered = 1

    def ask(self, kind: str, request_id: str, question: dict[str, Any], **more: Any) -> None:
        """Let a question wait."""
        now = self.clock.now()
        self.questions[request_id] = {
            "id": request_id,
            "kind": kind,
            "status": "pending",
            "server": "files",
            "deed": "tools/call",
            "key": "write",
            "agent": "cody",
            "subject": "owner",
            "warnings": [],
            "decision": None,
            "result": None,
            "reason": "",
            "decided_by": "",
            "created_at": now.isoformat(),
            "expires_at": (now + TTL).isoformat(),
            "question": question,
            **({"in_review": False, "cost_usd": None} if kind == "sampling" else {}),
            **more,
        }

    def will(self, method: str, path: str, *bodies: Any, is_waiting: bool = False) -> None:
        """Say what a request is answered with, once each."""
        answers = self.answers.setdefault(f"{method} {path}", [])
        for body in bodies:
            is_fault = isinstance(body, BaseException)
            answers.append(body if is_fault else Answer(json.dumps(body), is_waiting))

    def close(self) -> None:
        """There is nothing to close."""

    def send(self, method: str, path: str, *, body: Any, query: dict[str, Any]) -> Answer:
        told = self.answers.get(f"{method} {path}")
        if told:
            self.sent.append((f"{method} {path}", body))
            answer = told.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            return answer
        return Answer(json.dumps(self._of_question(method, path, body, query)))

    def lines(self, method: str, path: str, **given: Any) -> Iterator[str]:
        for number, event in enumerate(self.feeds.pop(0), 1):
            if isinstance(event, BaseException):
                raise event
            if event is None:
                yield ": connected"
            else:
                yield from (f"id: {number}", f"data: {json.dumps(event)}", "")

    def _of_question(self, method: str, path: str, body: Any, query: dict[str, Any]) -> Any:
        for name, kind in KINDS.items():
            if path == kind.path:
                return self._page(name, query)
            if path.startswith(f"{kind.path}/"):
                request_id, _, deed = path.removeprefix(f"{kind.path}/").partition("/")
                question = self.questions.get(request_id)
                if question is None or question["kind"] != name:
                    break
                return (
                    self._moved(question, deed, body) if method == "POST" else self._seen(question)
                )
        raise refused(404, "request_not_found")

    def _page(self, kind: str, query: dict[str, Any]) -> dict[str, Any]:
        wanted = (query.get("status") or "").split(",")
        items = [
            one
            for one in self.questions.values()
            if one["kind"] == kind and (wanted == [""] or one["status"] in wanted)
        ]
        return {"items": items[::-1], "next_cursor": None}

    def _moved(self, question: dict[str, Any], deed: str, body: Any) -> dict[str, Any]:
        if deed == "estimate":
            model = body.get("model", "m-1")
            return {"model": model, "prompt_tokens": 7, "max_tokens": 100, "most_usd": "0.02"}
        self.sent.append((f"{question['id']} {deed}", body))
        if self.refusals:
            raise self.refusals.pop(0)
        if question["status"] != "pending" and not question.get("in_review"):
            raise refused(409, "request_decided")
        question |= {"status": _MOVES[deed], "decision": body, "in_review": False}
        if deed == "respond":
            question["result"] = body
        return question

    def _seen(self, question: dict[str, Any]) -> dict[str, Any]:
        """The model answers while somebody looks."""
        is_asked = question["kind"] == "sampling" and question["status"] == "approved"
        if is_asked and not question["in_review"]:
            if self.looks_until_answered:
                self.looks_until_answered -= 1
                return question
            is_review = question["decision"].get("review", False)
            status = "approved" if is_review else "completed"
            question |= {"result": ANSWER, "in_review": is_review, "status": status}
        return question


class FakeRemote(Remote):
    """The command line's own connection, to a hub in memory."""

    def __init__(self, rest: FakeRest) -> None:
        self.address = "http://hub.example"
        self._connection = rest


@dataclass
class Person(Terminal):
    """Types these lines and makes these edits; a question beyond them fails the test."""

    is_there_: bool = True
    lines: deque[str] = field(default_factory=deque[str])
    edits: deque[Callable[[str], str]] = field(default_factory=deque[Callable[[str], str]])
    prompts: list[str] = field(default_factory=list[str])
    visited: list[str] = field(default_factory=list[str])
    has_browser: bool = True
    pauses: int = 0

    @property
    def is_there(self) -> bool:
        return self.is_there_

    def read(self, prompt: str) -> str:
        assert self.lines, f"nobody was to be asked: {prompt!r}"
        self.prompts.append(prompt)
        return self.lines.popleft()

    def edit(self, text: str, suffix: str) -> str:
        assert self.edits, f"no editor was to open: {text!r}"
        return self.edits.popleft()(text)

    def browse(self, url: str) -> bool:
        self.visited.append(url)
        return self.has_browser

    def pause(self, seconds: float) -> None:
        self.pauses += 1


class Shell:
    """Runs command lines against the hub in memory."""

    def __init__(self) -> None:
        self.rest = FakeRest()
        self.person = Person()

    def run(self, *words: str, types: tuple[str, ...] = ()) -> int:
        """Run one command line while the person types these lines; all must be asked for."""
        self.person.lines = deque(types)
        code = execute(self._app(), list(words))
        assert not self.person.lines, f"nobody asked for {list(self.person.lines)}"
        return code

    def will_edit(self, change: Callable[[Any], Any]) -> None:
        """Let the person change JSON in the editor, once."""
        self.person.edits.append(lambda text: json.dumps(change(json.loads(text))))

    def asks_form(self, request_id: str = "E1", **more: Any) -> None:
        question = {"message": "A table?", "mode": "form", "url": None, "requested_schema": FORM}
        field = {"name": "name", "label": "name", "required": True, "kind": "text"}
        fields = [{**field, "choices": [{"value": "Ada", "title": "A."}], "default": "Ada"}]
        self.rest.ask("elicitation", request_id, question | {"fields": fields}, **more)

    def asks_visit(self, url: str = "https://shop.example/pay?x=1") -> None:
        question = {"message": "Pay", "mode": "url", "url": url, "host": "shop.example"}
        self.rest.ask("elicitation", "U1", question | {"fields": []})

    def asks_approval(self, request_id: str = "A1", **more: Any) -> None:
        arguments: dict[str, Any] = {"path": "a.txt", "size": 3}
        question = {"tool": "write", "title": "", "description": "", "annotations": {}}
        self.rest.ask(
            "approval", request_id, question | {"arguments": arguments, "why": "writes"}, **more
        )

    def asks_model(self, request_id: str = "S1", **more: Any) -> None:
        messages = [{"role": "user", "content": {"type": "text", "text": "2 + 2?"}}]
        question = {"messages": messages, "system_prompt": None, "max_tokens": 100}
        self.rest.ask(
            "sampling", request_id, question | {"model_hints": ["m-1"], "tools": []}, **more
        )

    def _app(self) -> typer.Typer:
        app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)

        @app.callback()
        def root(context: typer.Context) -> None:
            context.obj = Session(
                connect=lambda: FakeRemote(self.rest),
                data_dir=None,
                setting_faults=list,
                now=self.rest.clock.now,
                terminal=self.person,
            )

        _ = root
        calls.add_to(app)
        app.add_typer(inbox.build(), name="inbox")
        app.add_typer(rules.build(), name="rules")
        return app
