"""A backend with DSNSync for the tests of `connectDSN`, in a process of its own.

The first argument says what it is, as JSON: its folder, and `readme` for which examples of
dsn-sync's README run in it. It prints {"url", "token"}, and then answers commands on stdin, each a
line of JSON, with a line of JSON. The end of stdin ends it.

    {"do": "sync", "table": …, "key": …, "data": …, "replace": …}
    {"do": "define", "table": …, "schema": …}
    {"do": "told"}                  what handlers were told, and the errors that were logged
    {"do": "refuse", "table": …}    its creates are refused from now on
    {"do": "notify"}                creates of `messages` sync to `notifications`
    {"do": "stop"}, {"do": "start"}
    {"do": "rotate"}, {"do": "revoke", "token": …}, {"do": "token"}
"""

from __future__ import annotations

import json
import re
import sys
import threading
from pathlib import Path
from typing import Any

import reunite.dropin.dsn_sync
from reunite.dropin.dsn_sync import DSNSync

README = Path(__file__).parents[1] / "dropin" / "dsn_sync_readme.md"

# The shop stands for itself; the other examples go on from each other.
SHOP = 9

USERS = {"key": "user_id", "fields": ["name", "email", "cart", "status"]}


def examples() -> list[str]:
    """The README's Python, with the import changed."""
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return [
        block.replace("from dsn_sync import", "from reunite.dropin.dsn_sync import")
        for block in blocks
    ]


def run_readme(which: str, options: dict[str, Any]) -> DSNSync:
    """Run the examples; their port is free, and their data in the test's folder."""
    made: list[DSNSync] = []

    class Here(DSNSync):
        def __init__(self, port: int) -> None:
            assert port == 3000
            super().__init__(0, **options)
            made.append(self)

    reunite.dropin.dsn_sync.DSNSync = Here  # type: ignore[misc]
    names: dict[str, Any] = {
        "get_online_users_count": lambda: 3,
        "get_sales_today": lambda: 41.5,
        "get_page_views": lambda: 1_000,
        "get_current_stock": lambda product: 49,
        "print": lambda *words: None,
    }
    for block in examples()[SHOP:] if which == "shop" else examples()[:SHOP]:
        exec(compile(block, "README.md", "exec", dont_inherit=True), names)
    return made[0]


class Backend:
    def __init__(self, asked: dict[str, Any]) -> None:
        options = {"tls": "off", "data_dir": Path(asked["folder"]), **asked.get("options", {})}
        self.told: list[Any] = []
        self.refused: set[str] = set()
        self.notifies = False
        if "readme" in asked:
            self.sync = run_readme(asked["readme"], options)
            return
        self.sync = DSNSync(asked.get("port", 0), **options)
        assert self.sync.start(), self.sync.last_error
        self.define("users", USERS)

    def define(self, table: str, schema: dict[str, Any]) -> None:
        self.sync.define_table(table, schema)

        @self.sync.on_create(table)
        def created(data: dict[str, Any]) -> bool:
            self.told.append(["create", data])
            if self.notifies and table == "messages":
                record = {"user_id": data["to_user"], "message": data["message"], "read": False}
                self.sync.sync("notifications", f"notif_{data['message_id']}", record)
            return table not in self.refused

        @self.sync.on_update(table)
        def updated(data: dict[str, Any]) -> None:
            self.told.append(["update", data])

        @self.sync.on_delete(table)
        def deleted(data: dict[str, Any]) -> None:
            self.told.append(["delete", data])

    def answer(self, command: dict[str, Any]) -> Any:
        match command.pop("do"):
            case "sync":
                return self.sync.sync(
                    command["table"],
                    command["key"],
                    command["data"],
                    replace=command.get("replace", False),
                )
            case "define":
                self.define(command["table"], command["schema"])
            case "told":
                return self.told
            case "refuse":
                self.refused.add(command["table"])
            case "notify":
                self.notifies = True
            case "stop":
                return self.sync.stop()
            case "start":
                return self.sync.start()
            case "rotate":
                return self.sync.rotate_token()
            case "revoke":
                self.sync.revoke_token(command["token"])
            case "token":
                return self.sync.get_token()
        return None


def main() -> None:
    backend = Backend(json.loads(sys.argv[1]))
    url, token = backend.sync.get_url(), backend.sync.get_token()
    print(json.dumps({"url": url, "token": token}), flush=True)
    for line in sys.stdin:
        try:
            found = {"answer": backend.answer(json.loads(line))}
        except Exception as exc:
            found = {"error": f"{type(exc).__name__}: {exc}"}
        print(json.dumps(found), flush=True)
    backend.sync.stop()


if __name__ == "__main__":
    threading.excepthook = lambda _: None  # examples' threads go on while the process ends
    main()
