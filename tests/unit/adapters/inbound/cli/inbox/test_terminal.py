"""The real terminal: its editor, its browser, its end."""

import io
import shlex
import sys
import webbrowser

import pytest
import typer

from agenthub.adapters.inbound.cli.inbox.terminal import StandardTerminal
from agenthub.adapters.inbound.cli.output import Failure

TERMINAL = StandardTerminal()


@pytest.fixture(autouse=True)
def no_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)


def editor(code: str) -> str:
    """Make the command of an editor that does this with the file `p`."""
    script = f"import pathlib, sys; p = pathlib.Path(sys.argv[-1]); {code}"
    return shlex.join([sys.executable, "-I", "-S", "-c", script])


def test_a_text_comes_back_as_the_editor_left_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", editor("p.write_text(p.read_text() + p.suffix)"))
    assert TERMINAL.edit("text", ".json") == "text.json"


@pytest.mark.parametrize("command", ["", "no-such-editor-here", editor("sys.exit(1)"), "'"])
def test_an_editor_that_fails_says_so(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("VISUAL", command)
    with pytest.raises(Failure, match="ditor"):
        TERMINAL.edit("text", ".json")


def test_the_end_of_the_input_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(" yes \n"))
    assert TERMINAL.read("? ") == "yes"
    with pytest.raises(typer.Abort):
        TERMINAL.read("? ")


def test_a_prompt_steers_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("x\n"))
    TERMINAL.read("\x1b[2J? ")
    assert "\x1b" not in capsys.readouterr().out


def test_nobody_is_there_behind_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("x\n"))
    assert TERMINAL.is_there is False


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a browser that stands for the system's own was given."""
    urls: list[str] = []

    class Browser(webbrowser.BaseBrowser):
        def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
            urls.append(url)
            return True

    monkeypatch.setattr(webbrowser, "_tryorder", ["test"])
    monkeypatch.setattr(webbrowser, "_browsers", {"test": [None, Browser("test")]})
    return urls


def test_a_web_address_is_given_to_the_browser(opened: list[str]) -> None:
    assert TERMINAL.browse("https://shop.example/")
    assert opened == ["https://shop.example/"]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "javascript:alert(1)", "-x https://a", ""])
def test_only_web_addresses_are_opened(opened: list[str], url: str) -> None:
    assert TERMINAL.browse(url) is False
    assert opened == []
