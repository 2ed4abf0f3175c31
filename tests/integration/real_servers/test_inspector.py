"""Everything of every real server is usable through /mcp by the MCP Inspector's command line."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.real_servers.conftest import Park
from tests.integration.real_servers.inspector import Answer, Inspector
from tests.integration.real_servers.passes import Names
from tests.integration.real_servers.table import SERVERS, Expected, filled
from tests.support.hub_process import HubProcess

pytestmark = [pytest.mark.node, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

TOOL_ERROR = 5


class InspectorPass:
    """Uses everything of one server and notes what is not as expected."""

    def __init__(
        self, inspector: Inspector, expected: Expected, names: Names, words: Mapping[str, str]
    ) -> None:
        self._inspector = inspector
        self._expected = expected
        self._names = names
        self._words = words
        self._complaints: list[str] = []

    def run(self) -> list[str]:
        self._tools()
        for uri, holds in self._expected.resources.items():
            self._read(uri, holds)
        for uri, holds in self._expected.templates.values():
            self._read(uri, holds)
        for call in self._expected.prompts:
            name = self._names.name(call.prompt)
            self._expect(name, self._inspector.prompt(name, call.arguments), call.says)
        return self._complaints

    def _tools(self) -> None:
        """The Inspector cannot be asked anything: a tool that asks has to end in a clear error."""
        for call in self._expected.calls:
            name = self._names.name(call.tool)
            answer = self._inspector.call_tool(name, filled(call.arguments, self._words))
            if call.asks:
                if answer.exit_code == 0:
                    self._complaints.append(f"{name}: nobody was asked, and yet: {answer.text}")
            elif call.is_task:
                self._expect(name, answer, "", 0, TOOL_ERROR)
            else:
                self._expect(name, answer, call.says, TOOL_ERROR if call.is_error else 0)

    def _read(self, uri: str, holds: str) -> None:
        named = self._names.uri(uri)
        self._expect(named, self._inspector.read(named), holds)

    def _expect(self, what: str, answer: Answer, says: str, *exit_codes: int) -> None:
        as_said = filled(says, self._words) in answer.text
        if answer.exit_code not in (exit_codes or (0,)) or not as_said:
            self._complaints.append(f"{what}: {answer}")


SHARES = {
    "legacy": ("everything-stdio", "filesystem", "git"),
    "modern": ("everything-http", "memory", "time", "sqlite"),
}
"""Each of its commands is a process of Node's own, so each era has a share of the servers; the
SDK's client uses every one of them in both.
"""


@pytest.mark.parametrize("era", SHARES)
def test_inspector_uses_everything(era: str, park: Park, hub: HubProcess, tmp_path: Path) -> None:
    inspector = Inspector(hub.url("/mcp"), era, hub.headers, tmp_path)
    words = park.words(f"inspector_{era}")
    complaints = {
        name: InspectorPass(inspector, SERVERS[name], Names(name), words).run()
        for name in SHARES[era]
    }
    assert complaints == {name: [] for name in SHARES[era]}


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_inspector_lists_everything(era: str, hub: HubProcess, tmp_path: Path) -> None:
    inspector = Inspector(hub.url("/mcp"), era, hub.headers, tmp_path)
    tools, resources, templates, prompts = (
        inspector.ask(f"{kind}/list").text
        for kind in ("tools", "resources", "resources/templates", "prompts")
    )
    for name, expected in SERVERS.items():
        names = Names(name)
        for call in expected.calls:
            assert f'"{names.name(call.tool)}"' in tools
        for uri in expected.resources:
            assert f'"{names.uri(uri)}"' in resources
        for template in expected.templates:
            assert f'"{names.uri(template)}"' in templates
        for prompt in expected.prompts:
            assert f'"{names.name(prompt.prompt)}"' in prompts
