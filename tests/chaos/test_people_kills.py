"""`kill -9` before and after every commit of a call that waits for a person, to its delivery.

After the restart the agent comes back with what it has: its ticket, its request state, or the same
request again. Each life is lived as often as it has commits, and the hub dies at the next one each
time, until it survives.
"""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.registrar import UNHEARD
from tests.fixtures.deeds_server import DEEDS_FILE
from tests.support.fixture_process import FixtureProcess
from tests.support.forked_hub import ForkedHub
from tests.support.returning_agents import (
    LegacyAgent,
    LostError,
    ModernAgent,
    Outcome,
    RestAgent,
    ReturningAgent,
)

pytestmark = [pytest.mark.chaos, pytest.mark.e2e, pytest.mark.slow]

WITHIN_S = 30.0
MAX_POINTS = 60
APPROVALS, ELICITATIONS = "/api/approvals", "/api/elicitation/requests"
YES = {"action": "accept", "content": {"name": "Ada"}}
OPEN = {"pending", "approved"}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a person is asked, about which tool, and how long the agent waits without a ticket."""

    era: str
    tool: str
    path: str
    verb: str
    word: Json = field(default_factory=dict[str, Any])
    hold_s: float = 0.0


APPROVAL = Kind("modern", "act", APPROVALS, "approve")
APPROVAL_IN_HOLD = Kind("legacy", "act", APPROVALS, "approve", hold_s=60.0)
MODERN_FORM = Kind("modern", "act_if_told", ELICITATIONS, "respond", YES)
LEGACY_FORM = Kind("legacy", "act_if_told", ELICITATIONS, "respond", YES)
LIVES = {
    "approval-rest": (APPROVAL, RestAgent),
    "approval-modern": (APPROVAL, ModernAgent),
    "approval-in-hold": (APPROVAL_IN_HOLD, LegacyAgent),
    "modern-form-legacy": (MODERN_FORM, LegacyAgent),
    "legacy-form-modern": (LEGACY_FORM, ModernAgent),
}


@dataclass(slots=True)
class House:
    """A hub that dies, the server behind it, and the person who answers."""

    kind: Kind
    agent: type[ReturningAgent]
    hub: ForkedHub
    death_file: Path
    deeds_file: Path
    acknowledged: set[str] = field(default_factory=set[str])
    """Questions whose answer was accepted with a 200."""
    died_as: str = ""
    """What the call was when the hub died; empty before that, `absent` where it was not stored."""

    def arm(self, point: int) -> None:
        """Let the hub die at this point from now on."""
        self.died_as = ""
        draft = self.death_file.with_suffix(".draft")
        draft.write_text(str(point))
        draft.rename(self.death_file)

    def deeds(self, number: int) -> int:
        lines = self.deeds_file.read_text().split() if self.deeds_file.exists() else []
        return lines.count(str(number))

    def questions(self, number: int | None = None) -> list[Json]:
        """Look at the questions about one call that is stored, or about all."""
        items: list[Json] = self.hub.rest("GET", f"{self.kind.path}?limit=200").body["items"]
        if number is None:
            return items
        calls = {row[0] for row in self.rows(number)}
        return [one for one in items if one["call"] in calls]

    def rows(self, number: int) -> list[tuple[str, str, Any]]:
        """Read what is stored of a call: ticket, status, and whether it was delivered."""
        with closing(sqlite3.connect(self.hub.data_dir / "agenthub.db", timeout=20)) as database:
            rows = database.execute("SELECT id, status, delivered_at, params FROM held_calls")
            return [
                row[:3]
                for row in rows
                if json.loads(json.loads(row[3])["arguments"])["number"] == number
            ]

    def entries_open(self) -> int:
        with closing(sqlite3.connect(self.hub.data_dir / "agenthub.db", timeout=20)) as database:
            query = "SELECT count(*) FROM ledger_entries WHERE status = 'reserved'"
            return int(database.execute(query).fetchone()[0])

    def answer(self) -> None:
        """Do as a person does who looks at the panel: answer whatever is pending."""
        for one in self.questions():
            if one["status"] != "pending":
                continue
            assert one["id"] not in self.acknowledged, "an answer was lost"
            place = f"{self.kind.path}/{one['id']}/{self.kind.verb}"
            answer = self.hub.rest("POST", place, self.kind.word)
            assert answer.status in (200, 409), answer
            if answer.status == 200:
                self.acknowledged.add(one["id"])

    def come_back(self, number: int) -> None:
        """Start again, if the hub is dead indeed."""
        assert self.hub.has_died(WITHIN_S), "a request was lost, and the hub lives"
        self.death_file.unlink(missing_ok=True)
        statuses = [row[1] for row in self.rows(number)]
        assert len(statuses) <= 1, statuses
        self.died_as = statuses[0] if statuses else "absent"
        self.hub.start()


@pytest.fixture
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    kind, agent = LIVES[request.param]
    deeds, death = tmp_path / "deeds", tmp_path / "death"
    env = {"AGENTHUB_HITL__HOLD_S": str(kind.hold_s)}
    era = ("--era", kind.era, "--transport", "http")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DEEDS_FILE, str(deeds))
        with (
            FixtureProcess("deeds_server", *era, log_dir=tmp_path) as server,
            ForkedHub(tmp_path / "data", death, env) as hub,
        ):
            hub.register_http("doer", server.url)
            policy = {"name": "costs", "action": "ask", "tool": "act"}
            assert hub.rest("POST", "/api/policies", policy).status == 201
            yield House(kind, agent, hub, death, deeds)
            server.kill()  # one that still waits for an answer would stop slowly


@pytest.mark.timeout(240)
@pytest.mark.parametrize("house", LIVES, indirect=True)
def test_a_hub_killed_at_any_commit_of_a_question_neither_repeats_nor_loses_a_call(
    house: House,
) -> None:
    died: Counter[str] = Counter()
    for point in range(1, MAX_POINTS):
        agent = house.agent("doer", house.kind.tool, point)
        house.arm(point)
        outcome = live(house, agent)
        assert_right(house, point, outcome)
        settle(house, agent, outcome)
        died[house.died_as] += 1
        if not house.died_as:
            break
    assert not house.died_as, "the life has no end"
    assert {"absent", "waiting", "running", "done"} <= died.keys(), died


def live(house: House, agent: ReturningAgent) -> Outcome:
    """Call until there is an outcome, while a person answers, over the hub's death."""
    ends_at = time.monotonic() + 2 * WITHIN_S
    with ThreadPoolExecutor(1) as pool:
        while time.monotonic() < ends_at:
            visit = pool.submit(agent.visit, house.hub)
            try:
                while not visit.done():
                    house.answer()
                    time.sleep(0.01)
            except UNHEARD:
                pass
            try:
                outcome = visit.result(WITHIN_S)
                house.answer()
            except (LostError, *UNHEARD):
                house.come_back(agent.number)
                continue
            if outcome is not None:
                return outcome
    raise AssertionError("the agent waits for ever")


def assert_right(house: House, number: int, outcome: Outcome) -> None:
    """Judge by what the call was when the hub died."""
    deeds, seen = house.deeds(number), (number, house.died_as, outcome)
    is_cut = house.kind is LEGACY_FORM and house.died_as == "waiting"
    if outcome.code == "":
        assert outcome.text == f"did {number}", seen
        assert deeds == 1, seen
        assert not is_cut, seen
    elif house.died_as == "running":
        assert outcome.code == "call_interrupted", seen
        assert "not repeated" in outcome.text, seen
        assert deeds <= 1, seen
    else:
        assert is_cut, seen
        assert outcome.code == "question_lost", seen
        assert deeds == 0, seen


def settle(house: House, agent: ReturningAgent, outcome: Outcome) -> None:
    """Wait until nothing is under way: every question has ended, and the person sees how."""
    ends_at = time.monotonic() + WITHIN_S
    while (left := unsettled(house, agent)) is not None:
        assert time.monotonic() < ends_at, (agent.number, house.died_as, left)
        time.sleep(0.02)
    house.death_file.unlink(missing_ok=True)
    try:
        asked = house.questions(agent.number)
    except UNHEARD:  # it died at a commit after all that was looked at
        house.come_back(agent.number)
        asked = house.questions(agent.number)
    assert {one["status"] for one in asked} <= {"completed", "failed"}, asked
    if outcome.code:
        assert any(one["reason"] for one in asked), asked
    else:
        assert not any(one["reason"] for one in asked), asked
    if agent.has_ticket:
        again = agent.visit(house.hub)
        assert again == outcome, (agent.number, again, outcome)
    assert house.deeds(agent.number) <= 1


def unsettled(house: House, agent: ReturningAgent) -> object:
    """Give what is under way still. Where the hub dies only now, it is started again."""
    try:
        questions = [one for one in house.questions() if one["status"] in OPEN]
        rows = [row for row in house.rows(agent.number) if not (house.died_as or row[2])]
        left = (questions, rows, house.entries_open())
    except UNHEARD:
        house.come_back(agent.number)
        return "a hub"
    return left if any(left) else None
