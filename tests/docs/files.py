"""The files that belong to the project: tracked by git, or new and not ignored."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def project_files(*patterns: str) -> list[Path]:
    """Return the project's files that match a git pathspec such as `*.md`, sorted."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # A file that was just removed is still listed until the removal is added.
    return sorted({ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()})
