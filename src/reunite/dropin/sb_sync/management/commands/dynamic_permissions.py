"""`manage.py dynamic_permissions`: an organization's permissions as files.

discover   which models there are           generate   a file from a template
template   what the templates give          validate   whether a file can be applied
export     a file of what is                apply      a file becomes all that is
                                            import     the same

A file, or without --output-file stdout, has the JSON and nothing else; what is told of it goes to
stderr.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from reunite.dropin.sb_sync import conf, permissions
from reunite.dropin.sb_sync.management.telling import SyncCommand, action, names
from reunite.errors import BadRequestError


class Command(SyncCommand):
    """The command."""

    help = "Permissions of an organization: discover, generate, apply, export, import, validate."

    def add_flags(self, parser: CommandParser) -> None:
        action(parser, "discover", "generate", "apply", "export", "import", "validate", "template")
        parser.add_argument("--org-slug")
        parser.add_argument("--app-label", help="only the models of this app")
        parser.add_argument("--exclude-models", help="a,b: models to leave out")
        parser.add_argument(
            "--permission-template",
            choices=list(permissions.TEMPLATES),
            help="DEFAULT_PERMISSION_TEMPLATE, read_write, if it is not said",
        )
        parser.add_argument("--config-file", help="the file to read")
        parser.add_argument("--output-file", help="the file to write")
        parser.add_argument("--groups", help="a,b: only these, and with the whole template")
        parser.add_argument("--dry-run", action="store_true", help="of apply and import: only tell")

    def handle(self, *arguments: Any, **options: Any) -> None:
        if options["action"] in ("generate", "export"):
            try:
                self._write(getattr(self, f"_{options['action']}")(options), options)
            except BadRequestError as error:
                raise CommandError(error.message) from error
            return
        super().handle(*arguments, **options)

    def answer(self, options: Mapping[str, Any]) -> Any:
        return getattr(self, f"_{options['action']}")(options)

    def after(self, answer: Any, options: Mapping[str, Any]) -> None:
        if options["action"] == "validate" and not answer["valid"]:
            raise SystemExit(1)

    def _discover(self, options: Mapping[str, Any]) -> dict[str, Any]:
        by_app: dict[str, list[str]] = defaultdict(list)
        for label in self._labels(options):
            by_app[label.partition(".")[0]].append(label)
        return {"models": dict(by_app)}

    def _template(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "templates": {
                name: [flag for flag, is_given in flags.items() if is_given]
                for name, flags in permissions.TEMPLATES.items()
            },
            "groups": dict(permissions.GROUPS),
        }

    def _generate(self, options: Mapping[str, Any]) -> Any:
        slug, chosen = options["org_slug"], names(options["groups"])
        organization = permissions.organization_of(slug) if slug else None
        template = options["permission_template"] or conf.value(
            "PERMISSIONS", "DEFAULT_PERMISSION_TEMPLATE"
        )
        file = permissions.generate(
            self._labels(options),
            chosen or permissions.groups_of(organization),
            template,
            exactly=bool(chosen),
        )
        told = permissions.problems(file)
        if told:
            raise BadRequestError(" ".join(told))
        return file

    def _export(self, options: Mapping[str, Any]) -> Any:
        return permissions.export(permissions.organization_of(options["org_slug"]))

    def _validate(self, options: Mapping[str, Any]) -> dict[str, Any]:
        told = permissions.problems(permissions.read(options["config_file"]))
        return {"file": options["config_file"], "valid": not told, "problems": told}

    def _apply(self, options: Mapping[str, Any]) -> dict[str, Any]:
        organization = permissions.organization_of(options["org_slug"])
        file = permissions.read(options["config_file"])
        done = permissions.apply(organization, file, whole=True, dry_run=options["dry_run"])
        more = {"dry_run": True} if options["dry_run"] else {}
        return {
            "organization": organization.slug,
            "file": permissions.counted(file),
            **done,
            **more,
        }

    _import = _apply

    def _labels(self, options: Mapping[str, Any]) -> list[str]:
        return permissions.labels(options["app_label"], names(options["exclude_models"]))

    def _write(self, file: Any, options: Mapping[str, Any]) -> None:
        text = json.dumps(file, indent=2, ensure_ascii=False)
        if options["output_file"]:
            try:
                Path(options["output_file"]).write_text(f"{text}\n", encoding="utf-8")
            except OSError as error:
                raise CommandError(
                    f"The file {options['output_file']} cannot be written: {error.strerror}."
                ) from error
        else:
            self.stdout.write(text)
        self.stderr.write(permissions.counted(file))
