"""What to call at each real server, and what it answers.

Texts may hold `{work}`, a folder that the filesystem and git servers may use, and `{run}`, a word
that differs from one pass over the table to the next, so that several clients can take turns.
Calls are made from top to bottom, servers in the order of `SERVERS`: later ones build on earlier.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ZIPPED = {"name": "hello-{run}.gz", "data": "data:text/plain;base64,aGVsbG8="}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """`says` stands in the answer; a call with `asks` needs a client that can be asked.

    `is_task`: the error is for clients without the experimental tasks of 2025-11-25.
    """

    tool: str
    says: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    is_error: bool = False
    asks: bool = False
    is_task: bool = False


@dataclass(frozen=True, slots=True)
class PromptCall:
    prompt: str
    says: str
    arguments: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Completion:
    """Of an argument of a prompt, or of a variable of a template."""

    of: str
    argument: str
    value: str
    offers: str


@dataclass(frozen=True, slots=True)
class Expected:
    """Everything that one server offers; `resources` and `templates` say what a reading holds."""

    calls: Sequence[ToolCall]
    resources: Mapping[str, str] = field(default_factory=dict[str, str])
    templates: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    prompts: Sequence[PromptCall] = ()
    completions: Sequence[Completion] = ()


DOCUMENT = "demo://resource/static/document"
EVERYTHING = Expected(
    calls=[
        ToolCall("echo", "Echo: hello {run}", {"message": "hello {run}"}),
        ToolCall("get-annotated-message", "Error", {"messageType": "error", "includeImage": True}),
        ToolCall("get-env", "PATH"),
        ToolCall("get-resource-links", "resource links", {"count": 2}),
        ToolCall("get-resource-reference", "resource", {"resourceType": "Blob", "resourceId": 2}),
        ToolCall("get-structured-content", "temperature", {"location": "Chicago"}),
        ToolCall("get-sum", "The sum of 2 and 3 is 5", {"a": 2, "b": 3}),
        ToolCall("get-tiny-image", "image"),
        ToolCall("gzip-file-as-resource", "hello-{run}.gz", ZIPPED),
        ToolCall("toggle-simulated-logging", "simulated"),
        ToolCall("toggle-simulated-logging", "simulated"),
        ToolCall("toggle-subscriber-updates", "simulated"),
        ToolCall("toggle-subscriber-updates", "simulated"),
        ToolCall("trigger-long-running-operation", "completed", {"duration": 0.2, "steps": 2}),
        ToolCall("trigger-elicitation-request", "Name: Ada", asks=True),
        ToolCall(
            "trigger-url-elicitation",
            "completed the URL",
            {"url": "https://a.example"},
            asks=True,
        ),
        ToolCall("trigger-sampling-request", "of the bees.", {"prompt": "Why?"}, asks=True),
        ToolCall("simulate-research-query", "task", {"topic": "bees"}, is_error=True, is_task=True),
    ],
    resources={
        f"{DOCUMENT}/{name}.md": "#"
        for name in (
            "architecture",
            "extension",
            "features",
            "how-it-works",
            "instructions",
            "startup",
            "structure",
        )
    },
    templates={
        "demo://resource/dynamic/text/{resourceId}": ("demo://resource/dynamic/text/7", "7"),
        "demo://resource/dynamic/blob/{resourceId}": ("demo://resource/dynamic/blob/7", "7"),
    },
    prompts=[
        PromptCall("simple-prompt", "simple prompt"),
        PromptCall("args-prompt", "Lyon", {"city": "Lyon"}),
        PromptCall("completable-prompt", "Bob", {"department": "Engineering", "name": "Bob"}),
        PromptCall("resource-prompt", "resource", {"resourceType": "Text", "resourceId": "3"}),
    ],
    completions=[
        Completion("completable-prompt", "department", "E", "Engineering"),
        Completion("demo://resource/dynamic/text/{resourceId}", "resourceId", "7", "7"),
    ],
)

FILE = "{work}/files/hello-{run}.txt"
MOVED = "{work}/files/moved-{run}.txt"
FILES = "{work}/files"
EDIT = {"oldText": "one", "newText": "three"}
PATTERN = "**/hello-{run}.txt"
FILESYSTEM = Expected(
    calls=[
        ToolCall("list_allowed_directories", "{work}"),
        ToolCall("create_directory", "files", {"path": FILES}),
        ToolCall("write_file", "hello-{run}", {"path": FILE, "content": "one\ntwo {run}"}),
        ToolCall("read_file", "two {run}", {"path": FILE}),
        ToolCall("read_text_file", "two {run}", {"path": FILE, "tail": 1}),
        ToolCall("read_media_file", "image", {"path": "{work}/pixel.png"}),
        ToolCall("read_multiple_files", "two {run}", {"paths": [FILE, "{work}/first.txt"]}),
        ToolCall("edit_file", "three", {"path": FILE, "edits": [EDIT]}),
        ToolCall("list_directory", "hello-{run}.txt", {"path": FILES}),
        ToolCall("list_directory_with_sizes", "hello-{run}.txt", {"path": FILES}),
        ToolCall("directory_tree", "hello-{run}.txt", {"path": FILES}),
        ToolCall("get_file_info", "size", {"path": FILE}),
        ToolCall("search_files", "hello-{run}.txt", {"path": "{work}", "pattern": PATTERN}),
        ToolCall("move_file", "moved-{run}", {"source": FILE, "destination": MOVED}),
        ToolCall("read_file", "outside", {"path": "/etc/hostname"}, is_error=True),
        ToolCall("write_file", "{run}", {"path": "{work}/repo/{run}.txt", "content": "{run}\n"}),
    ]
)

BEE = {"name": "bee-{run}", "entityType": "insect", "observations": ["flies"]}
ROSE = {"name": "rose-{run}", "entityType": "plant", "observations": ["blooms"]}
VISITS = {"from": "bee-{run}", "to": "rose-{run}", "relationType": "visits"}
HUMS = {"entityName": "bee-{run}", "contents": ["hums"]}
SILENT = {"entityName": "bee-{run}", "observations": ["hums"]}
MEMORY = Expected(
    calls=[
        ToolCall("create_entities", "bee-{run}", {"entities": [BEE, ROSE]}),
        ToolCall("create_relations", "visits", {"relations": [VISITS]}),
        ToolCall(
            "add_observations",
            "hums",
            {"observations": [HUMS]},
        ),
        ToolCall("read_graph", "rose-{run}"),
        ToolCall("search_nodes", "bee-{run}", {"query": "bee-{run}"}),
        ToolCall("open_nodes", "hums", {"names": ["bee-{run}"]}),
        ToolCall(
            "delete_observations",
            "delet",
            {"deletions": [SILENT]},
        ),
        ToolCall("delete_relations", "delet", {"relations": [VISITS]}),
        ToolCall("delete_entities", "delet", {"entityNames": ["rose-{run}"]}),
    ],
    resources={"memory://knowledge-graph": "entities"},
)

TIME = Expected(
    calls=[
        ToolCall("get_current_time", "Asia/Tokyo", {"timezone": "Asia/Tokyo"}),
        ToolCall(
            "convert_time",
            "+9.0h",
            {"source_timezone": "Etc/UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"},
        ),
    ]
)

REPO = {"repo_path": "{work}/repo"}
GIT = Expected(
    calls=[
        ToolCall("git_status", "{run}.txt", REPO),
        ToolCall("git_diff_unstaged", "Unstaged changes", REPO),
        ToolCall("git_add", "staged", {**REPO, "files": ["{run}.txt"]}),
        ToolCall("git_diff_staged", "{run}.txt", REPO),
        ToolCall("git_reset", "reset", REPO),
        ToolCall("git_add", "staged", {**REPO, "files": ["{run}.txt"]}),
        ToolCall("git_commit", "commit", {**REPO, "message": "Add {run}"}),
        ToolCall("git_log", "Add {run}", REPO),
        ToolCall("git_show", "Add {run}", {**REPO, "revision": "HEAD"}),
        ToolCall("git_diff", "{run}", {**REPO, "target": "HEAD~1"}),
        ToolCall("git_create_branch", "branch-{run}", {**REPO, "branch_name": "branch-{run}"}),
        ToolCall("git_checkout", "branch-{run}", {**REPO, "branch_name": "branch-{run}"}),
        ToolCall("git_branch", "branch-{run}", {**REPO, "branch_type": "local"}),
    ]
)

SQLITE = Expected(
    calls=[
        ToolCall("create_table", "created", {"query": "CREATE TABLE t_{run} (n INTEGER)"}),
        ToolCall("write_query", "1", {"query": "INSERT INTO t_{run} VALUES (42)"}),
        ToolCall("read_query", "42", {"query": "SELECT n FROM t_{run}"}),
        ToolCall("list_tables", "t_{run}"),
        ToolCall("describe_table", "INTEGER", {"table_name": "t_{run}"}),
        ToolCall("append_insight", "added", {"insight": "It is {run}."}),
        ToolCall("read_query", "no such table", {"query": "SELECT * FROM missing"}),
    ],
    resources={"memo://insights": "insights"},
    prompts=[PromptCall("mcp-demo", "bees", {"topic": "bees"})],
)

SERVERS: dict[str, Expected] = {
    "everything-stdio": EVERYTHING,
    "everything-http": EVERYTHING,
    "everything-sse": EVERYTHING,
    "filesystem": FILESYSTEM,
    "memory": MEMORY,
    "time": TIME,
    "git": GIT,
    "sqlite": SQLITE,
}


def filled(value: object, words: Mapping[str, str]) -> Any:
    """`value` with every `{word}` of its texts replaced, at any depth."""
    spelled = json.dumps(value)
    for word, text in words.items():
        spelled = spelled.replace("{" + word + "}", json.dumps(text)[1:-1])
    return json.loads(spelled)
