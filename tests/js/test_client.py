"""The browser client: its own tests, in Node and in Chromium, and the module that hubs serve."""

import gzip
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.javascript import JS, need, run

SERVED = JS.parent / "src" / "reunite" / "server" / "client.js"
DSN = JS.parent / "src" / "reunite" / "dropin" / "dsn_sync" / "client.js"

# What a page loads at first, compressed; and what it may load later, besides.
SIZE_MAX = 25_000
LATER_SIZE_MAX = 8_000

FILES = sorted(path.relative_to(JS).as_posix() for path in (JS / "tests").rglob("*.test.ts"))


@pytest.mark.parametrize("file", FILES)
def test_its_own_tests_pass(file: str) -> None:
    need()
    run("npx", "vitest", "run", file)


def test_the_module_that_hubs_serve_is_a_fresh_build(tmp_path: Path) -> None:
    need()
    run("node", "build.mjs", str(tmp_path))
    assert (tmp_path / "client.js").read_bytes() == SERVED.read_bytes(), "run `make client`"
    assert _parts(tmp_path) == _parts(SERVED.parent), "run `make client`"
    assert (tmp_path / "dsn.js").read_bytes() == DSN.read_bytes(), "run `make client`"


def _parts(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "client").iterdir()}


def test_what_a_page_loads_at_first_is_small_and_nothing_else_is_loaded_with_it() -> None:
    module = SERVED.read_text(encoding="utf-8")
    assert len(gzip.compress(module.encode(), 9)) < SIZE_MAX
    assert re.search(r"\bimport\s*[{*\"'`]|\bfrom\s*[\"'`]", module) is None
    later = set(re.findall(r"import\(`\./client/([^`]+)`\)", module))
    assert later == set(_parts(SERVED.parent))
    for name, code in _parts(SERVED.parent).items():
        assert len(gzip.compress(code, 9)) < LATER_SIZE_MAX, name


USER = """
import { connect, isError, type Status } from "reunite";
import { useRows } from "reunite/react";
import { sealed } from "reunite/sealed";
import { reuniteCollectionOptions } from "reunite/tanstack";

interface Task { readonly id: string }

export async function used(caught: unknown): Promise<Status | string> {
  const db = await connect("/sync", { token: () => "t", transport: sealed() });
  const tasks = db.table<Task>("task");
  const rows: readonly Task[] | undefined = useRows(tasks.where({ id: "t1" }).limit(1));
  reuniteCollectionOptions<Task, string>({ table: tasks, getKey: (task) => task.id });
  return isError(caught, "no-row") ? caught.code : (rows?.[0]?.id ?? db.status);
}
"""

# Each entry, and how much of it a page has to load, compressed.
ENTRIES = {"client": SIZE_MAX, "sealed": 20_000, "react": 1_500, "tanstack": 1_500}


def test_the_package_has_its_entries_with_their_types(tmp_path: Path) -> None:
    """As a strict TypeScript project and Node see it once it is installed."""
    need()
    package = tmp_path / "node_modules" / "reunite"
    package.mkdir(parents=True)
    run("node", "build.mjs", str(package / "dist"))
    run("npx", "tsc", "-p", "tsconfig.types.json", "--outDir", str(package / "dist"))
    shutil.copy(JS / "package.json", package)
    for name in ("react", "@tanstack", "@types", "@standard-schema", "csstype"):
        (tmp_path / "node_modules" / name).symlink_to(JS / "node_modules" / name)
    (tmp_path / "user.mts").write_text(USER, encoding="utf-8")
    options = {"noEmit": True, "strict": True, "module": "nodenext", "target": "es2022"}
    project = {"compilerOptions": options | {"types": []}, "files": ["user.mts"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(project), encoding="utf-8")
    run("npx", "tsc", "-p", str(tmp_path))
    loading = tmp_path / "load.mjs"
    sources = ["reunite", "reunite/sealed", "reunite/react", "reunite/tanstack"]
    loading.write_text("".join(f"import {source!r};\n" for source in sources), encoding="utf-8")
    run("node", str(loading))
    for name, size_max in ENTRIES.items():
        code = (package / "dist" / f"{name}.js").read_bytes()
        assert len(gzip.compress(code, 9)) < size_max, name
    begins = bundled(tmp_path, "connect")
    assert len(gzip.compress(begins, 9)) < SIZE_MAX, "no cryptography, and what is rare comes later"
    assert len(bundled(tmp_path, "connectDSN")) > len(bundled(tmp_path, "connect"))


# Vite's own helper for parts that come later is Vite's weight, and not the client's.
BUNDLE = """
import { build } from "vite";
const load = (id) =>
  id.endsWith("vite/preload-helper.js") ? "export const __vitePreload = (load) => load();" : null;
const [root, entry] = process.argv.slice(1);
const output = { entryFileNames: "bundle.js" };
const rolldownOptions = { input: entry, output };
const options = { outDir: root, emptyOutDir: false, modulePreload: false, rolldownOptions };
const plugins = [{ name: "plain-imports", enforce: "pre", load }];
await build({ root, configFile: false, logLevel: "error", plugins, build: options });
"""


def bundled(project: Path, name: str) -> bytes:
    """A page's module that uses one name of the package, as its bundler makes it."""
    page = project / "page.js"
    page.write_text(f"import {{ {name} }} from 'reunite';\nwindow.begin = {name};\n")
    run("node", "--input-type=module", "-e", BUNDLE, "--", str(project), str(page))
    return (project / "bundle.js").read_bytes()


def test_the_package_asks_for_nothing_else_at_run_time() -> None:
    package = json.loads((JS / "package.json").read_text(encoding="utf-8"))
    assert package.get("dependencies", {}) == {}


def test_the_lock_names_no_place_but_the_registry() -> None:
    lock = json.loads((JS / "package-lock.json").read_text(encoding="utf-8"))
    places = {entry.get("resolved", "") for entry in lock["packages"].values()}
    assert {place for place in places if not place.startswith("https://registry.npmjs.org/")} <= {
        ""
    }
    assert all(entry.get("integrity") for name, entry in lock["packages"].items() if name)
