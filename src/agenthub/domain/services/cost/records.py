"""What the ledger writes into its journal: a line when a call begins, and one when it ends."""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from json.encoder import encode_basestring_ascii

from agenthub.domain.entities.cost import (
    Entry,
    EntryKind,
    EntryStatus,
    Party,
    Purpose,
    kept_name,
)
from agenthub.domain.ids import EntryId, WorkspaceId

_BEGIN = "b"
_END = "e"
_quoted = encode_basestring_ascii
"""Of all that JSONEncoder does, a flat list of texts needs only this; it takes half the time."""


@dataclass(slots=True)
class OpenEntry:
    """A call under way. `boot` tells the process that began it."""

    id: EntryId
    workspace: WorkspaceId
    at: datetime
    purpose: Purpose
    party: Party
    bytes_in: int
    boot: str


@dataclass(slots=True)
class Ending:
    """How the call of an open entry ended."""

    id: EntryId
    status: EntryStatus
    error_code: str
    instance: str
    bytes_out: int
    duration_us: int


@dataclass(slots=True)
class Done:
    """A call that is over, to be stored."""

    begun: OpenEntry
    ending: Ending

    def entry(self) -> Entry:
        """Raises InvalidError."""
        begun, ending = self.begun, self.ending
        return Entry(
            id=begun.id,
            workspace=begun.workspace,
            at=begun.at,
            kind=EntryKind.TOOL,
            purpose=begun.purpose,
            party=kept_party(begun.party),
            status=ending.status,
            error_code=ending.error_code,
            instance=ending.instance,
            bytes_in=begun.bytes_in,
            bytes_out=ending.bytes_out,
            duration_us=ending.duration_us,
        )


def kept_party(party: Party) -> Party:
    """Make the foreign names of a party ones that every database keeps."""
    tool, model = kept_name(party.tool), kept_name(party.model)
    if tool is party.tool and model is party.model:
        return party
    return replace(party, tool=tool, model=model)


def begin_record(begun: OpenEntry) -> bytes:
    party = begun.party
    return (
        f'["{_BEGIN}","{begun.id}","{begun.boot}",{_quoted(begun.workspace)},'
        f'"{begun.at.isoformat()}",{_quoted(begun.purpose)},{_quoted(party.subject)},'
        f"{_quoted(party.group)},{_quoted(party.endpoint_id)},{_quoted(party.server)},"
        f"{_quoted(party.tool)},{_quoted(party.model)},{begun.bytes_in}]"
    ).encode()


def end_record(ending: Ending) -> bytes:
    return (
        f'["{_END}","{ending.id}",{_quoted(ending.status)},{_quoted(ending.error_code)},'
        f"{_quoted(ending.instance)},{ending.bytes_out},{ending.duration_us}]"
    ).encode()


def read(record: bytes) -> OpenEntry | Ending:
    """Read a record of either kind. Raises ValueError for one that is of neither."""
    kind, entry_id, *rest = json.loads(record)
    if kind == _END:
        status, error_code, instance, bytes_out, duration_us = rest
        return Ending(
            EntryId(entry_id), EntryStatus(status), error_code, instance, bytes_out, duration_us
        )
    boot, workspace, at, purpose, subject, group, endpoint_id, server, tool, model, size = rest
    party = Party(
        subject=subject,
        group=group,
        endpoint_id=endpoint_id,
        server=server,
        tool=tool,
        model=model,
    )
    return OpenEntry(
        EntryId(entry_id),
        WorkspaceId(workspace),
        datetime.fromisoformat(at),
        Purpose(purpose),
        party,
        size,
        boot,
    )
