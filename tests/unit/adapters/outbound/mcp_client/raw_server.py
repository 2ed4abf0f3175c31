"""A bare MCP server over stdio with one fault of one's choice. Standard library only.

python -I -S raw_server.py ERA [FAULT ...]
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

ERA, FAULTS = sys.argv[1], sys.argv[2:]
VERSION = {"legacy": "2025-11-25", "modern": "2026-07-28", "old": "2024-11-05"}.get(
    ERA, "2025-11-25"
)


def say(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def raw(data):
    sys.stdout.flush()
    os.write(1, data)


def capabilities():
    return {"tools": {"listChanged": True}, "resources": {"subscribe": True}}


def offered():
    path = next((f.partition("=")[2] for f in FAULTS if f.startswith("tools=")), None)
    names = pathlib.Path(path).read_text().split() if path else ["echo"]
    return [{"name": name, "inputSchema": {"type": "object"}} for name in names]


def spawn(*extra):
    code = "import signal,time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, *extra],
        start_new_session="escapee" in FAULTS,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return child.pid


def flood(_):
    while True:
        raw(b"x" * 65536)


def chatter(_):
    while True:
        raw(b'{"jsonrpc":"2.0","method":"notifications/nothing"}\n' * 1000)


def close(_):
    os.close(1)
    time.sleep(600)


def ask(number):
    say({"id": f"q{number}", "method": "elicitation/create", "params": {"message": "?"}})
    ASKED[f"q{number}"] = number


def env(number):
    say({"id": number, "result": {"env": dict(os.environ), "cwd": os.getcwd()}})


def utf8(number):
    raw(b'{"jsonrpc":"2.0","id":%d,"result":{"text":"\xff\xfe"}}\n' % number)


ODD = {
    "crash": lambda _: os._exit(3),
    "hang": lambda _: None,
    "deaf": lambda _: time.sleep(600),
    "flood": flood,
    "chatter": chatter,
    "close": close,
    "ask": ask,
    "env": env,
    "utf8": utf8,
}


def call(number, params):
    name = params.get("name")
    if name in ODD:
        ODD[name](number)
        return
    if name == "log":
        say({"method": "notifications/message", "params": {"level": "info", "data": "hi"}})
    if name == "change":
        say({"method": "notifications/tools/list_changed", "params": {}})
    said = {"echo": params.get("arguments", {}), "meta": params.get("_meta")}
    say({"id": number, "result": {**said, "pid": os.getpid(), "kin": KIN}})


ASKED = {}
KIN = []
LISTENERS = []


def discover(number):
    if "silent" in FAULTS:
        return
    if "dies-unknown" in FAULTS:
        os._exit(4)
    if ERA in ("modern", "dual"):
        versions = ["2026-07-28"] + (["2025-11-25"] if ERA == "dual" else [])
        say(
            {
                "id": number,
                "result": {
                    "supportedVersions": versions,
                    "resultType": "complete",
                    "capabilities": capabilities(),
                    "_meta": {
                        "io.modelcontextprotocol/serverInfo": {"name": "raw", "version": "1"}
                    },
                },
            }
        )
    else:
        say({"id": number, "error": {"code": -32601, "message": "Method not found"}})


def initialize(number):
    if ERA == "modern":
        say(
            {
                "id": number,
                "error": {
                    "code": -32022,
                    "message": "Unsupported protocol version",
                    "data": {"supported": ["2026-07-28"]},
                },
            }
        )
    else:
        say(
            {
                "id": number,
                "result": {
                    "protocolVersion": VERSION,
                    "capabilities": capabilities(),
                    "serverInfo": {"name": "raw", "version": "1"},
                },
            }
        )


def take(message):
    method, number, params = message.get("method"), message.get("id"), message.get("params") or {}
    if method is None and number in ASKED:
        say(
            {
                "id": ASKED.pop(number),
                "result": {"answered": message.get("result"), "refused": message.get("error")},
            }
        )
    elif method == "server/discover":
        discover(number)
    elif method == "initialize":
        initialize(number)
    elif method == "tools/list":
        say({"id": number, "result": {"tools": offered()}})
    elif method == "tools/call":
        call(number, params)
    elif method == "subscriptions/listen":
        LISTENERS.append(number)
        say(
            {
                "method": "notifications/subscriptions/acknowledged",
                "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": str(number)}},
            }
        )
    elif method in ("ping", "resources/subscribe", "resources/unsubscribe", "logging/setLevel"):
        say({"id": number, "result": {}})
        if method == "resources/subscribe":
            say({"method": "notifications/resources/updated", "params": {"uri": params["uri"]}})
    elif number is not None and method:
        say({"id": number, "error": {"code": -32601, "message": f"no {method}"}})


def main():
    if "banner" in FAULTS:
        print("Welcome to the raw server!", flush=True)
        print("it is ready", file=sys.stderr, flush=True)
    if "stderr-flood" in FAULTS:
        for n in range(10_000):
            print("complaint", n, "x" * 3000, file=sys.stderr)
    if "dies" in FAULTS:
        print("cannot start: no licence", file=sys.stderr, flush=True)
        sys.exit(7)
    if "stubborn" in FAULTS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "kin" in FAULTS or "escapee" in FAULTS:
        KIN.append(spawn())
    for line in sys.stdin:
        take(json.loads(line))
    if "stubborn" in FAULTS:
        time.sleep(600)


main()
