"""What the reference pages list is what there is: no setting and no error code more or less."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

from pydantic import BaseModel

from agenthub.config.settings import Settings
from tests.architecture.sources import ROOT, Source, sources

REFERENCE = ROOT / "docs" / "reference"


def setting_names(model: type[BaseModel], prefix: str = "AGENTHUB_") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from setting_names(inner, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}"


def codes_of_classes(source: Source) -> Iterator[str]:
    """Give the `code` of each error class of a file."""
    for node in source.nodes():
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
            for line in node.body:
                match line:
                    case (
                        ast.Assign(targets=[ast.Name("code")], value=ast.Constant(str(code)))
                        | ast.AnnAssign(target=ast.Name("code"), value=ast.Constant(str(code)))
                    ):
                        yield code


def codes_given(source: Source) -> Iterator[str]:
    """Give the codes that are chosen where an error is raised."""
    for node in source.nodes():
        match node:
            case ast.keyword(arg="code", value=ast.Constant(str(code))):
                yield code


def test_every_setting_is_documented_and_nothing_else() -> None:
    page = (REFERENCE / "settings.md").read_text()
    listed = set(re.findall(r"^\| `(AGENTHUB_[A-Z0-9_]+)`", page, re.M))
    assert listed == set(setting_names(Settings))


def test_every_error_code_is_documented_and_nothing_else() -> None:
    page = (REFERENCE / "errors.md").read_text()
    listed = set(re.findall(r"^\| `([a-z_]+)`", page, re.M))
    raised = {
        code
        for source in sources("src")
        for code in (*codes_of_classes(source), *codes_given(source))
    }
    assert listed == raised


def test_no_two_error_classes_share_a_code() -> None:
    counted = Counter(code for source in sources("src") for code in codes_of_classes(source))
    assert [code for code, times in counted.items() if times > 1] == []


def test_codes_are_found_in_every_notation() -> None:
    planted = Source(
        "planted.py",
        "class AError:\n    code = 'a'\n"
        "class BError:\n    code: str = 'b'\n"
        "raise AError(code='c')\n",
    )
    assert [*codes_of_classes(planted), *codes_given(planted)] == ["a", "b", "c"]


def test_settings_are_found_in_groups_too() -> None:
    assert {"AGENTHUB_PORT", "AGENTHUB_LOG__FORMAT"} <= set(setting_names(Settings))
