"""Log lines: one event, one line, no secret, no control character of anybody else's."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

SECRET = re.compile(
    r"(?i)(bearer\s+|ahk_|(?:authorization|api[_-]?key|token|password|secret)[\"']?\s*[:=]\s*[\"']?)"
    r"([^\s\"',;]{4,})"
)
PLAIN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def redact(text: str) -> str:
    """Blank whatever looks like a credential."""
    return SECRET.sub(r"\1[redacted]", text)


def _one_line(text: str) -> str:
    return "".join(c if c >= " " and c != "\x7f" else f"\\x{ord(c):02x}" for c in text)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {k: v for k, v in vars(record).items() if k not in PLAIN_FIELDS}


def _trace(record: logging.LogRecord) -> str | None:
    if record.exc_info is None:
        return None
    return redact(logging.Formatter().formatException(record.exc_info))


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": _at(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": redact(record.getMessage()),
        }
        line |= {k: redact(str(v)) for k, v in _fields(record).items()}
        trace = _trace(record)
        if trace is not None:
            line["trace"] = trace
        return json.dumps(line)


class ConsoleFormatter(logging.Formatter):
    """Time, level, event and fields for a person's eye; a trace follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {k}={redact(str(v))}" for k, v in _fields(record).items())
        text = _one_line(f"{redact(record.getMessage())}{fields}")
        trace = _trace(record)
        end = "" if trace is None else f"\n{trace}"
        return f"{_at(record)[11:23]} {record.levelname.lower():7} {text}{end}"


def set_up_logging(form: str, level: str) -> None:
    """Send all log lines to stderr in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("aiosqlite", "asyncio", "alembic", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
