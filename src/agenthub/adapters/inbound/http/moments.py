"""Points in time as clients write them."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, WithJsonSchema

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _moment(value: Any) -> Any:
    """Take texts only, and those that are a moment in UTC too."""
    if not isinstance(value, str):
        raise ValueError("must be a text as RFC 3339 has it")
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo is not None else moment
    except (ValueError, OverflowError) as error:
        raise ValueError("must be a moment with its offset, as RFC 3339 has it") from error


def _day_or_moment(value: Any) -> Any:
    """Take a date as well; it stands for its first moment in UTC."""
    is_date = isinstance(value, str) and _DATE.fullmatch(value)
    return _moment(f"{value}T00:00:00+00:00" if is_date else value)


Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
DayOrMoment = Annotated[
    AwareDatetime,
    BeforeValidator(_day_or_moment),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date"},
                {"type": "string", "format": "date-time"},
            ]
        }
    ),
]
