"""The inbox as it fills and empties, line by line."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from agenthub.adapters.inbound.cli.inbox.questions import ASKED, KINDS, Question, waiting
from agenthub.adapters.inbound.cli.inbox.terminal import Terminal
from agenthub.adapters.inbound.cli.inbox.words import caller, left, short
from agenthub.adapters.inbound.cli.output import Failure, complain, say
from agenthub.adapters.inbound.cli.remote import Remote, segment

RESOLVED = "request.resolved"
RETRY_S = 1.0


class Watch:
    """Tells of each question once, whether the feed tells of it or it was there before.

    What waits is read anew at each sign of life of the feed, so that nothing can be missed
    between the first look and the first event.
    """

    def __init__(
        self,
        connect: Callable[[], Remote],
        terminal: Terminal,
        now: Callable[[], datetime],
        *,
        as_json: bool,
    ) -> None:
        self._connect = connect
        self._terminal = terminal
        self._now = now
        self._as_json = as_json
        self._told: set[str] = set()
        self._last: int | None = None
        self._has_begun = False

    def run(self) -> None:
        """Follow until interrupted, also over a restart of the hub. Raises Failure at a refusal."""
        while True:
            try:
                self._follow()
            except Failure as failure:
                if failure.problem is not None or not self._has_begun:
                    raise
                complain(f"{failure} Trying again.")
            self._terminal.pause(RETRY_S)

    def _follow(self) -> None:
        with self._connect() as hub:
            for event in hub.feed(self._last):
                self._has_begun = True
                if event is None:
                    self._look(hub)
                else:
                    self._last = event["id"] or self._last
                    self._hear(hub, event)

    def _look(self, hub: Remote) -> None:
        found = waiting(hub)
        self._told &= {_key(one) for one in found}
        for question in found:
            self._tell(question)

    def _hear(self, hub: Remote, event: dict[str, Any]) -> None:
        kind = ASKED.get(event["type"])
        if kind is not None:
            question = hub.get(f"{KINDS[kind].path}/{segment(event['request_id'])}")
            if question["status"] == "pending":
                self._tell(question)
        elif event["type"] == RESOLVED:
            self._tell_end(event)
            if event["status"] == "approved":
                self._look(hub)

    def _tell(self, question: Question) -> None:
        key = _key(question)
        if key in self._told:
            return
        self._told.add(key)
        if self._as_json:
            say(json.dumps(question, ensure_ascii=False))
            return
        what = "has an answer to review" if question.get("in_review") else question["kind"]
        place = "/".join(short(one, 40) for one in (question["server"], question["key"]) if one)
        say(
            f"{question['id']}  {what}  {place}  for {short(caller(question), 40)}, "
            f"{left(question, self._now())} left: agenthub inbox answer {question['id']}"
        )

    def _tell_end(self, event: dict[str, Any]) -> None:
        if self._as_json:
            say(json.dumps(event, ensure_ascii=False))
            return
        by = f" by {short(event['by'], 40)}" if event.get("by") else ""
        say(f"{event['request_id']}  is {event['status']}{by}")


def _key(question: Question) -> str:
    """Tell a new question from its answer that waits for a second look."""
    return f"{question['id']} {question['status']}"
