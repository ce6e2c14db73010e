"""python conformance/http --url URL --token TOKEN: hold a hub to docs/protocol.md.

Prints a line for each case, with the sentence of the protocol that it checks. Ends with 0 if all
pass, with 1 if one fails, with 2 if the command line is wrong or no case could be tried.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from suite.cases import CASES, Case, NotCheckedError, Result, WrongError, as_json, run
from suite.described import add_described_cases
from suite.wire import TABLES, Hub

SECTIONS = (
    "registering",
    "pulling",
    "pushing",
    "judging",
    "merging",
    "identity",
    "viewing",
    "repairing",
    "transfer",
)
SIGNS = {"pass": "pass", "fail": "FAIL", "skip": "skip"}


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python conformance/http", description=__doc__)
    parser.add_argument(
        "--url",
        required=True,
        action="append",
        help="the mount point of the hub; given twice, two doors to one database, taken by turns",
    )
    parser.add_argument("--token", required=True, help="a token that may read and write all tables")
    parser.add_argument("--other-url", help="a second hub, with a log of its own")
    parser.add_argument("--other-token", help="its token, if that is another one")
    parser.add_argument("--case", default="", help="only cases whose section or name holds this")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    parser.add_argument("--list", action="store_true", help="list the cases and run none")
    return parser.parse_args(arguments)


def chosen(text: str) -> list[Case]:
    """The cases whose section or name holds the text."""
    for section in SECTIONS:
        importlib.import_module(f"suite.{section}")
    add_described_cases()
    return [one for one in CASES if text in one.section or text in one.name]


def check_tables(hub: Hub) -> None:
    """Say at once if this hub does not serve the tables of schema.sql."""
    answer = hub.ask("GET", "v1/schema")
    if answer.status != 200:
        raise NotCheckedError(f"GET v1/schema says {answer.status}: {answer.body['detail']}")
    missing = set(TABLES) - {table["name"] for table in answer.body["tables"]}
    if missing:
        raise NotCheckedError(f"the hub does not serve {sorted(missing)}: see schema.sql")


def tell(result: Result) -> None:
    """Print what came of a case."""
    name = f"{result.section}: {result.name}"
    print(f"{SIGNS[result.verdict]}  {name:<78}  {' '.join(result.says.split())}", flush=True)
    if result.reason:
        print(f"      {result.reason}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases and print what came of them; the exit code."""
    options = parsed(arguments)
    cases = chosen(options.case)
    if options.list:
        for one in cases:
            print(f"{one.section}: {one.name:<72}  {' '.join(one.says.split())}")
        return 0
    other = None
    if options.other_url:
        other = Hub(urls=[options.other_url], token=options.other_token or options.token)
    hub = Hub(urls=options.url, token=options.token, other=other)
    try:
        check_tables(hub)
    except (NotCheckedError, WrongError, OSError) as exc:
        print(f"Nothing was checked: {exc}", file=sys.stderr)
        return 2
    results = run(hub, cases, (lambda _: None) if options.json else tell)
    verdicts = [result.verdict for result in results]
    failed, skipped = verdicts.count("fail"), verdicts.count("skip")
    if options.json:
        print(as_json(results))
    else:
        print(f"{verdicts.count('pass')} passed, {failed} failed, {skipped} not checked.")
    if not results:
        print("No case has this name.", file=sys.stderr)
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
