"""A file fits in one head, a function on one screen; tasks have owners; entities do not wait."""

import ast

from tests.architecture.sources import Source, sources

MAX_SOURCE_LINES = 400
MAX_TEST_LINES = 600
MAX_FUNCTION_LINES = 60
STARTS_A_TASK_WITHOUT_OWNER = {"create_task", "ensure_future"}


def too_long_functions(source: Source) -> list[str]:
    return [
        f"{source.name}:{function.lineno} {function.name}"
        for function in source.functions()
        if (function.end_lineno or function.lineno) - function.lineno + 1 > MAX_FUNCTION_LINES
    ]


def ownerless_tasks(source: Source) -> list[str]:
    """Find `asyncio.create_task(...)` and `loop.create_task(...)`, but not those of a group."""
    return [
        f"{source.name}:{call.lineno}"
        for call in source.nodes()
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in STARTS_A_TASK_WITHOUT_OWNER
        and isinstance(call.func.value, ast.Name)
        and (call.func.value.id == "asyncio" or call.func.value.id.endswith("loop"))
    ]


def waits(source: Source) -> list[str]:
    return [
        f"{source.name}:{node.lineno}"
        for node in source.nodes()
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
    ]


def test_no_source_file_is_longer_than_a_head_can_hold() -> None:
    assert [s.name for s in sources("src") if s.lines > MAX_SOURCE_LINES] == []


def test_no_test_file_is_longer_than_a_head_can_hold() -> None:
    assert [s.name for s in sources("tests") if s.lines > MAX_TEST_LINES] == []


def test_no_function_is_longer_than_a_screen() -> None:
    assert [f for s in sources("src") for f in too_long_functions(s)] == []


def test_entities_never_wait() -> None:
    assert [w for s in sources("src/agenthub/domain/entities") for w in waits(s)] == []


def test_every_task_has_an_owner() -> None:
    assert [t for s in sources("src") for t in ownerless_tasks(s)] == []


def test_packages_export_nothing() -> None:
    packages = [s for s in sources("src") if s.name.endswith("__init__.py")]
    assert [s.name for s in packages if s.text.strip()] == []


def test_the_guards_of_this_file_bite() -> None:
    body = "\n".join("    x = 1" for _ in range(MAX_FUNCTION_LINES))
    planted = Source(
        "planted.py",
        f"async def long():\n{body}\n    asyncio.create_task(f())\n    loop.create_task(f())\n"
        "    group.create_task(f())\n",
    )
    assert too_long_functions(planted) == ["planted.py:1 long"]
    assert len(ownerless_tasks(planted)) == 2
    assert waits(planted) == ["planted.py:1"]
