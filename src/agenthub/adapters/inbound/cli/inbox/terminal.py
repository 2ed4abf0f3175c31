"""The person at the terminal: asked, shown an editor, sent to a browser. Tests play one."""

import os
import shlex
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

import typer

from agenthub.adapters.inbound.cli.output import Failure, clean, say


class Terminal(ABC):
    """Ends with typer.Abort where the person ends it (Ctrl-C, end of input)."""

    @property
    @abstractmethod
    def is_there(self) -> bool:
        """Say whether a person can be asked at all."""

    @abstractmethod
    def read(self, prompt: str) -> str:
        """Read one line."""

    @abstractmethod
    def edit(self, text: str, suffix: str) -> str:
        """Let the person change a text in an editor. Raises Failure where there is none."""

    @abstractmethod
    def browse(self, url: str) -> bool:
        """Open a page in a browser; only behind a person's yes. Says whether that went well."""

    @abstractmethod
    def pause(self, seconds: float) -> None:
        """Wait before looking again."""


class StandardTerminal(Terminal):
    """Standard input and output, $VISUAL or $EDITOR, and the system's browser."""

    @property
    def is_there(self) -> bool:
        return sys.stdin.isatty() and sys.stdout.isatty()

    def read(self, prompt: str) -> str:
        try:
            return input(clean(prompt)).strip()
        except (EOFError, KeyboardInterrupt) as error:
            say()
            raise typer.Abort from error

    def edit(self, text: str, suffix: str) -> str:
        # These are large, and the other commands shall start fast.
        import subprocess  # noqa: PLC0415
        import tempfile  # noqa: PLC0415

        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
        if not editor:
            raise Failure("No editor is known; set EDITOR, such as EDITOR=nano.")
        with tempfile.TemporaryDirectory(prefix="agenthub-") as folder:
            file = Path(folder, f"edit{suffix}")
            file.write_text(text, "utf-8")
            try:
                subprocess.run([*shlex.split(editor), str(file)], check=True)
                return file.read_text("utf-8")
            except (OSError, ValueError, subprocess.CalledProcessError) as error:
                raise Failure(f"The editor {editor!r} failed: {error}") from error

    def browse(self, url: str) -> bool:
        import webbrowser  # noqa: PLC0415

        if not url.startswith(("https://", "http://")):
            return False
        try:
            return webbrowser.open(url)
        except webbrowser.Error:
            return False

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)


def choose(terminal: Terminal, choices: dict[str, str]) -> str:
    """Let a person take one of several ways, by its key; asks until it is one of them."""
    while True:
        for key, words in choices.items():
            say(f"  [{key}] {words}")
        given = terminal.read("> ").lower()
        if given in choices:
            return given
        say(f"Type one of {', '.join(choices)}.")


def is_sure(terminal: Terminal, question: str) -> bool:
    """Ask for a yes; an empty answer is a no."""
    return terminal.read(f"{question} [y/N] ").lower() in ("y", "yes")
