"""What a hub says of itself at one moment, over REST."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agenthub.adapters.inbound.cli.remote import Remote
from agenthub.adapters.inbound.cli.top.metrics import Metrics, read_metrics

NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Spend:
    """This month's spend in nano-dollars, and the hub's budget of the month if it has one."""

    spent_nano_usd: int
    limit_nano_usd: int | None
    hard_stop: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """`servers` and `gates` are as REST shows them; `today` is in nano-dollars by server.

    `looked_at` is monotonic, in seconds.
    """

    at: datetime
    looked_at: float
    servers: list[dict[str, Any]]
    gates: dict[str, dict[str, Any]]
    metrics: Metrics
    today: dict[str, int]
    spend: Spend


def read_hub(hub: Remote, now: datetime) -> Reading:
    """Ask for everything. Raises Failure."""
    servers = hub.items("/api/mcp/servers")
    gates = {gate["id"]: gate for gate in hub.items("/api/gateway/servers")}
    text = hub.text("/metrics")
    looked_at = time.monotonic()
    today = hub.get("/api/costs/summary", by="server", since=now.date().isoformat())
    return Reading(
        at=now,
        looked_at=looked_at,
        servers=servers,
        gates=gates,
        metrics=read_metrics(text),
        today={row["key"]: row["cost_nano_usd"] for row in today["rows"]},
        spend=_spend(hub, now),
    )


def _spend(hub: Remote, now: datetime) -> Spend:
    for budget in hub.items("/api/budgets"):
        if budget["scope"] == "hub" and budget["period"] == "month":
            spent, limit = budget["spent_nano_usd"], budget["limit_nano_usd"]
            return Spend(spent, limit, budget["hard_stop"])
    since = now.date().replace(day=1).isoformat()
    total = hub.get("/api/costs/summary", by="day", since=since)["total"]
    return Spend(total["cost_nano_usd"], None, hard_stop=False)
