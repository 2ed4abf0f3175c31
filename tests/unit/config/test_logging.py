import json
import logging
import sys

from agenthub.config.logging import ConsoleFormatter, JsonFormatter, redact


def record(message: str, *, error: bool = False, **fields: object) -> logging.LogRecord:
    trace = None
    if error:
        try:
            raise ValueError("token=supersecretvalue")
        except ValueError:
            trace = sys.exc_info()
    made = logging.LogRecord("agenthub.x", logging.INFO, "f.py", 1, message, None, trace)
    vars(made).update(fields)
    return made


def test_a_line_break_in_a_value_does_not_make_a_second_line() -> None:
    forged = record("called", tool='x\n{"level":"error"}')
    assert len(ConsoleFormatter().format(forged).splitlines()) == 1
    lines = JsonFormatter().format(forged).splitlines()
    assert [json.loads(line)["tool"] for line in lines] == ['x\n{"level":"error"}']


def test_credentials_are_blanked_in_message_fields_and_trace() -> None:
    leaky = record("got Bearer abcdefgh1234", error=True, header="Authorization: Basic-xyz12345")
    for formatter in (ConsoleFormatter(), JsonFormatter()):
        text = formatter.format(leaky)
        for secret in ("abcdefgh1234", "Basic-xyz12345", "supersecretvalue"):
            assert secret not in text


def test_ordinary_words_are_not_blanked() -> None:
    assert redact("the tokenizer has 3 tokens left") == "the tokenizer has 3 tokens left"


def test_fields_are_part_of_the_line() -> None:
    assert "server=time" in ConsoleFormatter().format(record("server ready", server="time"))
