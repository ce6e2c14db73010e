"""`manage.py manage_config ACTION`: the values of the configuration, and where they come from.

show       the values, and which of them have no effect      export    them as a file
summary    how many come from where                          import    a file into the database
validate   what is wrong with them, or with a file           reset     what the database keeps, away
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from reunite.dropin.sb_sync import configuring
from reunite.dropin.sb_sync.management.telling import SyncCommand
from reunite.errors import BadRequestError

_ACTIONS = ("show", "export", "import", "validate", "summary", "reset")
_ALL = "all"
_SECTIONS = (
    "core",
    "advanced",
    "error",
    "performance",
    "security",
    "model_discovery",
    "permissions",
)


class Command(SyncCommand):
    """The command."""

    help = "Show, export, import, validate and reset the configuration of the sync API."

    def add_flags(self, parser: CommandParser) -> None:
        parser.add_argument("what", nargs="?", choices=_ACTIONS, metavar="ACTION")
        parser.add_argument("--action", choices=_ACTIONS, help="the same as ACTION")
        parser.add_argument("--file", help="of export, import and validate")
        parser.add_argument("--section", choices=[*_SECTIONS, _ALL], default=_ALL)
        parser.add_argument("--format", choices=configuring.FORMATS, default="json")
        parser.add_argument("--force", action="store_true", help="of reset: do not ask")
        parser.add_argument("--dry-run", action="store_true", help="only tell")

    def handle(self, *arguments: Any, **options: Any) -> None:
        chosen = {one for one in (options["what"], options["action"]) if one}
        if len(chosen) != 1:
            raise CommandError(f"Say one action: {', '.join(_ACTIONS)}.")
        options["action"] = chosen.pop()
        if options["action"] == "export":
            self._export(options)
            return
        super().handle(*arguments, **options)

    def answer(self, options: Mapping[str, Any]) -> Any:
        return getattr(self, f"_{options['action']}")(options)

    def words(self, answer: Any, options: Mapping[str, Any]) -> list[str]:
        if options["action"] != "show":
            return super().words(answer, options)
        lines = []
        for section, keys in answer.items():
            lines.append(f"{section}:")
            for key, about in keys.items():
                without = f"; no effect: {about['no_effect']}" if "no_effect" in about else ""
                lines.append(f"  {key} = {about['value']!r} ({about['from']}{without})")
        return lines

    def after(self, answer: Any, options: Mapping[str, Any]) -> None:
        if options["action"] == "validate" and answer["problems"]:
            raise SystemExit(1)

    def _show(self, options: Mapping[str, Any]) -> dict[str, Any]:
        sections = _chosen(options)
        values = configuring.without_secret(configuring.current(sections))
        sources = configuring.sources(sections)
        return {
            section: {
                key: {"value": value, "from": sources[section][key], **_effect(section, key)}
                for key, value in values[section].items()
            }
            for section in sections
        }

    def _summary(self, options: Mapping[str, Any]) -> dict[str, Any]:
        found = configuring.sources(_chosen(options))
        return {
            "sections": {name: len(keys) for name, keys in found.items()},
            "values_from": dict(Counter(one for keys in found.values() for one in keys.values())),
            "problems": configuring.problems(configuring.current(_chosen(options))),
        }

    def _validate(self, options: Mapping[str, Any]) -> dict[str, Any]:
        values = self._read(options) if options["file"] else configuring.current(_chosen(options))
        told = configuring.problems(values)
        return {"valid": not told, "problems": told}

    def _export(self, options: Mapping[str, Any]) -> None:
        values = configuring.current(_chosen(options))
        if not options["file"]:
            # On a screen, and in what it is piped to, the secret is nobody's.
            section, key = configuring.SECRET
            values.get(section, {}).pop(key, None)
        try:
            text = configuring.written(values, options["format"])
        except BadRequestError as error:
            raise CommandError(error.message) from error
        if not options["file"]:
            self.stdout.write(text, ending="")
            return
        path = Path(options["file"])
        try:
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"The file {path} cannot be written: {error.strerror}.") from error
        self.stderr.write(f"{sum(map(len, values.values()))} values written to {path}")

    def _import(self, options: Mapping[str, Any]) -> dict[str, Any]:
        values = self._read(options)
        if options["dry_run"]:
            told = configuring.problems(values)
            if told:
                raise CommandError(" ".join(told))
            return {"dry_run": True, "values": sum(map(len, values.values()))}
        return {"values": sum(map(len, values.values())), "stored": configuring.store(values)}

    def _reset(self, options: Mapping[str, Any]) -> dict[str, Any]:
        sections = _chosen(options)
        if options["dry_run"]:
            kept = configuring.sources(sections)
            count = sum(
                one == configuring.STORED for keys in kept.values() for one in keys.values()
            )
            return {"dry_run": True, "removed": count}
        if not options["force"]:
            try:
                answer = input("Remove the configuration that the database keeps? [y/N] ")
            except EOFError as error:
                raise CommandError("Nobody answers: --force does not ask.") from error
            if answer.strip().lower() not in ("y", "yes"):
                raise CommandError("Nothing was done.")
        return {"removed": configuring.reset(sections)}

    def _read(self, options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        if not options["file"]:
            raise CommandError("Say which file: --file.")
        try:
            text = Path(options["file"]).read_text(encoding="utf-8")
        except OSError as error:
            raise CommandError(
                f"The file {options['file']} cannot be read: {error.strerror}."
            ) from error
        found = configuring.read(text, options["format"])
        if options["section"] == _ALL:
            return found
        return {name: one for name, one in found.items() if name == options["section"].upper()}


def _chosen(options: Mapping[str, Any]) -> list[str]:
    """The sections that are meant. Some of the original's have no keys."""
    if options["section"] == _ALL:
        return list(configuring.SECTIONS)
    return [name for name in configuring.SECTIONS if name == options["section"].upper()]


def _effect(section: str, key: str) -> dict[str, str]:
    why = configuring.NO_EFFECT.get((section, key))
    return {} if why is None else {"no_effect": why}
