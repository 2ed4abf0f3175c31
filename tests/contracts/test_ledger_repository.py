"""What is kept of calls and their cost, on every storage."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from agenthub.domain.entities.cost import EntryKind, EntryStatus, Party, PriceSnapshot, Tokens
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import InvalidError
from agenthub.domain.ids import EntryId
from agenthub.domain.ports.outbound.storage.cost import (
    DayCalls,
    EntryFilter,
    SummaryKey,
    SummaryRow,
)
from tests.contracts.samples import STRANGER, Store
from tests.fakes.clock import NEW_YEAR
from tests.support.ledger_entries import CALLER, WRITER, entry, reservation

ALL = EntryFilter()
FULL = Tokens(prompt=9, cached_read=4, cache_write_5m=3, completion=7, reasoning=2, audio_out=1)


async def _add(store: Store, *entries: object) -> None:
    async with store.uow.begin(OWNER) as tx:
        await tx.ledger.add(list(entries))  # pyright: ignore[reportArgumentType]
        await tx.commit()


async def test_an_entry_comes_back_as_it_was(store: Store) -> None:
    rich = entry(
        "1",
        at=NEW_YEAR + timedelta(microseconds=1),
        kind=EntryKind.MODEL,
        party=replace(WRITER, tool="né☃"),
        tokens=FULL,
        model_served="gpt-5.5-mini",
        price_id="abc",
        reserved_nano_usd=2,
        cost_nano_usd=4_500_000_000_000,
    )
    plain = entry("2", cost_nano_usd=None, status=EntryStatus.UNPRICED)
    await _add(store, rich, plain)
    async with store.uow.read(OWNER) as stored:
        assert await stored.ledger.page(ALL, limit=9, before=None) == [plain, rich]


async def test_an_id_is_kept_once_and_counts_once(store: Store) -> None:
    async with store.uow.begin(OWNER) as tx:
        assert await tx.ledger.add([entry("1"), entry("1", bytes_in=99)]) == [entry("1")]
        assert await tx.ledger.add([entry("2"), entry("1", bytes_in=5)]) == [entry("2")]
        assert await tx.ledger.add([entry("2")]) == []
        assert await tx.ledger.add([]) == []
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        rows = await stored.ledger.summary(SummaryKey.DAY, ALL)
    assert [(row.tool_calls, row.bytes_in) for row in rows] == [(2, 20)]


async def test_a_large_batch_is_kept_whole(store: Store) -> None:
    many = [entry(f"{number:05}") for number in range(2_000)]
    async with store.uow.begin(OWNER) as tx:
        assert len(await tx.ledger.add(many)) == 2_000
        assert len(await tx.ledger.add(many)) == 0
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        assert (await stored.ledger.summary(SummaryKey.SERVER, ALL))[0].tool_calls == 2_000


async def test_a_reserved_entry_counts_once_it_is_settled(store: Store) -> None:
    await _add(store, reservation("1", 500))
    async with store.uow.begin(OWNER) as tx:
        assert await tx.ledger.summary(SummaryKey.DAY, ALL) == []
        assert await tx.ledger.reserved() == [reservation("1", 500)]
        end = reservation(
            "1",
            0,
            at=NEW_YEAR + timedelta(days=3),
            party=CALLER,
            status=EntryStatus.ABORTED,
            cost_nano_usd=70,
            tokens=FULL,
            duration_us=5,
        )
        assert await tx.ledger.settle(end) == reservation("1", 500)
        assert await tx.ledger.settle(end) is None
        assert await tx.ledger.settle(entry("unknown")) is None
        assert await tx.ledger.reserved() == []
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        [kept] = await stored.ledger.page(ALL, limit=9, before=None)
        [day] = await stored.ledger.summary(SummaryKey.DAY, ALL)
    assert kept == replace(end, at=NEW_YEAR, party=WRITER, reserved_nano_usd=500)
    assert (day.key, day.model_calls, day.cost_nano_usd) == ("2026-01-01", 1, 70)
    assert (day.prompt_tokens, day.completion_tokens) == (9, 7)


async def test_a_summary_counts_each_kind_of_end(store: Store) -> None:
    await _add(
        store,
        entry("1"),
        entry("2", status=EntryStatus.ERROR),
        entry("3", status=EntryStatus.REFUSED),
        entry("4", status=EntryStatus.ESTIMATED, cost_nano_usd=7),
        entry("5", status=EntryStatus.UNPRICED, cost_nano_usd=None),
        entry("6", kind=EntryKind.MODEL, status=EntryStatus.ABORTED, cost_nano_usd=30),
    )
    async with store.uow.read(OWNER) as stored:
        rows = await stored.ledger.summary(SummaryKey.DAY, ALL)
    assert rows == [
        SummaryRow(
            key="2026-01-01",
            tool_calls=5,
            model_calls=1,
            errors=1,
            refused=1,
            bytes_in=60,
            bytes_out=1_200,
            duration_us=18_000,
            prompt_tokens=0,
            completion_tokens=0,
            cost_nano_usd=37,
            unpriced=1,
            estimated=1,
        )
    ]


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        (SummaryKey.DAY, ["2026-01-01"]),
        (SummaryKey.SERVER, ["", "time", "git"]),
        (SummaryKey.TOOL, ["", "time/now", "git/now"]),
        (SummaryKey.MODEL, ["gpt-5.5", ""]),
        (SummaryKey.KEY, ["K-ann", "owner"]),
    ],
)
async def test_a_summary_goes_by_one_key_the_dearest_first(
    store: Store, by: SummaryKey, keys: list[str]
) -> None:
    await _add(
        store,
        entry("1", party=replace(CALLER, server="git", subject="owner")),
        entry("2"),
        entry("3"),
        entry("4", kind=EntryKind.MODEL, party=WRITER, cost_nano_usd=5),
    )
    async with store.uow.read(OWNER) as stored:
        rows = await stored.ledger.summary(by, ALL)
    assert [row.key for row in rows] == keys
    assert sum(row.tool_calls + row.model_calls for row in rows) == 4


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (EntryFilter(subject="K-ann"), {"1", "2"}),
        (EntryFilter(group="G-dev"), {"1", "2"}),
        (EntryFilter(group=""), {"3"}),
        (EntryFilter(server="time"), {"1"}),
        (EntryFilter(tool="now", kind=EntryKind.TOOL), {"1"}),
        (EntryFilter(model="gpt-5.5"), {"2"}),
        (EntryFilter(kind=EntryKind.MODEL, subject="owner"), set[str]()),
        (EntryFilter(since=NEW_YEAR + timedelta(days=1)), {"3"}),
        (EntryFilter(until=NEW_YEAR + timedelta(days=1)), {"1", "2"}),
        (EntryFilter(until=NEW_YEAR), set[str]()),
        (EntryFilter(until=datetime.min.replace(tzinfo=UTC)), set[str]()),
    ],
)
async def test_entries_and_sums_are_chosen_alike(
    store: Store, where: EntryFilter, ids: set[str]
) -> None:
    other = Party(subject="owner", server="git", tool="log")
    await _add(
        store,
        entry("1"),
        entry("2", kind=EntryKind.MODEL, party=WRITER),
        entry("3", party=other, at=NEW_YEAR + timedelta(days=1)),
    )
    async with store.uow.read(OWNER) as stored:
        found = await stored.ledger.page(where, limit=9, before=None)
        sums = await stored.ledger.summary(SummaryKey.DAY, where)
    assert {one.id for one in found} == ids
    assert sum(row.tool_calls + row.model_calls for row in sums) == len(ids)


async def test_days_are_whole_and_those_of_utc(store: Store) -> None:
    west = timezone(timedelta(hours=-5))
    await _add(
        store,
        entry("1", at=datetime(2026, 1, 1, 22, tzinfo=west)),
        entry("2", at=datetime(2026, 1, 1, 23, tzinfo=UTC)),
        entry("3", at=datetime(2026, 1, 3, 1, tzinfo=UTC)),
    )
    noon = timedelta(hours=12)
    async with store.uow.read(OWNER) as stored:
        every = await stored.ledger.summary(SummaryKey.DAY, ALL)
        since = await stored.ledger.summary(
            SummaryKey.DAY, EntryFilter(since=datetime(2026, 1, 2, tzinfo=UTC) + noon)
        )
        until = await stored.ledger.summary(
            SummaryKey.DAY, EntryFilter(until=datetime(2026, 1, 2, tzinfo=UTC) + noon)
        )
        midnight = await stored.ledger.summary(
            SummaryKey.DAY, EntryFilter(until=datetime(2026, 1, 2, tzinfo=UTC))
        )
    assert [row.key for row in every] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert [row.key for row in since] == ["2026-01-02", "2026-01-03"]
    assert [row.key for row in until] == ["2026-01-01", "2026-01-02"]
    assert [row.key for row in midnight] == ["2026-01-01"]


async def test_the_calls_of_a_day_leave_refused_ones_out(store: Store) -> None:
    await _add(
        store,
        entry("1"),
        entry("2", status=EntryStatus.ERROR),
        entry("3", status=EntryStatus.REFUSED),
        entry("4", kind=EntryKind.MODEL, party=WRITER),
        entry("5", at=NEW_YEAR + timedelta(days=1)),
    )
    async with store.uow.read(OWNER) as stored:
        assert await stored.ledger.calls_on(date(2026, 1, 1)) == [
            DayCalls("K-ann", "time", "now", 2)
        ]


async def test_pages_go_from_the_newest(store: Store) -> None:
    await _add(store, *(entry(name) for name in "badce"))
    async with store.uow.read(OWNER) as stored:
        first = await stored.ledger.page(ALL, limit=2, before=None)
        rest = await stored.ledger.page(ALL, limit=9, before=EntryId("d"))
    assert [one.id for one in first + rest] == ["e", "d", "c", "b", "a"]


async def test_pruning_keeps_the_sums_and_what_is_under_way(store: Store) -> None:
    later = NEW_YEAR + timedelta(seconds=1)
    await _add(store, entry("1"), entry("2", at=later), reservation("3", 5))
    async with store.uow.begin(OWNER) as tx:
        assert await tx.ledger.prune(before=later) == 1
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        left = await stored.ledger.page(ALL, limit=9, before=None)
        [day] = await stored.ledger.summary(SummaryKey.DAY, ALL)
    assert [one.id for one in left] == ["3", "2"]
    assert day.tool_calls == 2


async def test_a_price_is_kept_once(store: Store) -> None:
    body = {"input": "0.000001", "tiers": [1, {"a": None}]}
    price = PriceSnapshot(id="abc", body=body, source="map 1", at=NEW_YEAR)
    async with store.uow.begin(OWNER) as tx:
        await tx.ledger.put_price(price)
        await tx.ledger.put_price(replace(price, source="map 2"))
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        assert await stored.ledger.price("abc") == price
        assert await stored.ledger.price("abd") is None


@pytest.mark.parametrize("bad", ["a\x00b", "a\ud800b"], ids=["NUL", "lone surrogate"])
async def test_unstorable_text_is_refused_and_nothing_is_kept(store: Store, bad: str) -> None:
    async with store.uow.begin(OWNER) as tx:
        with pytest.raises(InvalidError) as refused:
            await tx.ledger.add([entry("1"), entry("2", party=replace(CALLER, tool=bad))])
        await tx.ledger.add([entry("3")])
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        assert [one.id for one in await stored.ledger.page(ALL, limit=9, before=None)] == ["3"]
    assert refused.value.code == "invalid_text"


async def test_workspaces_do_not_see_each_other(store: Store) -> None:
    await _add(store, entry("1"), reservation("2", 5))
    async with store.uow.begin(STRANGER) as tx:
        assert await tx.ledger.page(ALL, limit=9, before=None) == []
        assert await tx.ledger.summary(SummaryKey.KEY, ALL) == []
        assert await tx.ledger.reserved() == []
        assert await tx.ledger.calls_on(date(2026, 1, 1)) == []
        assert await tx.ledger.settle(entry("2")) is None
        assert await tx.ledger.prune(before=NEW_YEAR + timedelta(days=1)) == 0
        assert len(await tx.ledger.add([entry("1")])) == 1
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        assert len(await stored.ledger.page(ALL, limit=9, before=None)) == 2
