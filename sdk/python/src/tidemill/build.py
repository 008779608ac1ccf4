"""Makes a component of a project: `python3 -m tidemill.build`, which is what `tidemill build` runs for Python.

componentize-py does the work. What is done here is what it leaves to whoever calls it: it is told the contract, the entry, and
where modules are; and it is kept from taking packages that are not the project's.

A project says in its pyproject.toml where its modules are, and which of them has the `@handler`:

    [tool.tidemill]
    path = ["src", "vendor/tidemill/src"]   # `src` when left out
    module = "fraud_check"                  # the folder's name in snake case when left out

The packages of the virtual environment that this runs in are added to the path.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tidemill._verdict import BEGIN, END

__all__ = ["main"]

# The module that componentize-py begins with. It is generated, so that an author need not know what a component exports.
_ENTRY = "tidemill_entry"
_ENTRY_TEXT = """\
from tidemill._component import EventHandler, EventProjection, Queries, load

load({module!r}, {role!r}, {source!r})
"""

# A component imports all that its world has, and `state` must be granted. A handler that uses none must not ask for it.
_STATELESS = "stateless"
_WORLDS = {
    "handler": "include tidemill:plugin/handler@VERSION;",
    "projection": "include tidemill:plugin/projection@VERSION;",
    "projection-with-queries": "include tidemill:plugin/projection-with-queries@VERSION;",
    _STATELESS: """
    import tidemill:plugin/emit@VERSION;
    import tidemill:plugin/log@VERSION;
    import tidemill:plugin/config@VERSION;
    import tidemill:plugin/host@VERSION;
    export tidemill:plugin/event-handler@VERSION;
""",
}

_SDK = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Project:
    """A folder with a pyproject.toml, and what that says."""

    folder: Path
    path: list[Path]
    module: str

    @classmethod
    def open(cls, folder: Path) -> Project:
        """Reads a project's settings."""
        settings = _settings(folder / "pyproject.toml")
        path = [folder / name for name in settings.get("path", ["src"])]
        module = settings.get("module", folder.resolve().name.replace("-", "_").replace(".", "_"))
        for root in path:
            if not root.is_dir():
                _fail(f"`path` of `[tool.tidemill]` in pyproject.toml names `{root}`, and there is no such folder")
        if module in sys.stdlib_module_names:
            _fail(f"the module `{module}` is called like one of Python's own, which would be hidden by it; rename it")
        files = [Path(*module.split(".")).with_suffix(".py"), Path(*module.split("."), "__init__.py")]
        if not any((root / file).is_file() for root in path for file in files):
            where = " or ".join(f"`{root}`" for root in path)
            _fail(
                f"there is no module `{module}` in {where}; `module` of `[tool.tidemill]` in pyproject.toml names the one "
                "that has the `@handler` or the `@projection`"
            )
        return cls(folder, path, module)

    def uses_state(self) -> bool:
        """Whether one of the project's own modules imports `tidemill.state`."""
        return any(_imports_state(file) for root in self.path for file in _own_modules(root))


def main(arguments: list[str] | None = None) -> None:
    """Builds the project in the current folder."""
    parser = argparse.ArgumentParser(
        prog="python3 -m tidemill.build", description="Makes a component of a Python project."
    )
    parser.add_argument("--world", choices=["handler", "projection", "projection-with-queries"], default="handler")
    parser.add_argument(
        "--scratch", type=Path, default=Path("build/python"), help="a folder for what is made on the way"
    )
    parser.add_argument(
        "--componentize-py", default=shutil.which("componentize-py"), help="the tool; sought on the PATH"
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    if not options.componentize_py:
        _fail(
            "componentize-py is not there; this gets it:\n"
            "    python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1"
        )
    project = Project.open(Path())
    world = _STATELESS if options.world == "handler" and not project.uses_state() else options.world
    contract = _contract()
    scratch = _write_scratch(options.scratch, project, world, contract)
    command = [options.componentize_py, "-q", "-d", contract, "-d", scratch / "wit", "-w", "tidemill:python/plugin"]
    command += ["componentize"]
    for folder in [*project.path, _SDK.parent, *_environment(), scratch / "entry"]:
        command += ["-p", folder]
    command += [_ENTRY, "-o", options.output]
    # Where it finds no virtual environment, it would take what is installed on this machine.
    nothing = os.environ | {"VIRTUAL_ENV": str((scratch / "nothing").absolute())}
    made = subprocess.run([str(word) for word in command], env=nothing, text=True, capture_output=True)
    if made.returncode != 0:
        _fail(_told(made.stderr + made.stdout))
    print(made.stdout, end="")


def _settings(file: Path) -> dict[str, Any]:
    try:
        project = tomllib.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _fail(f"{file}: {error}")
    settings = project.get("tool", {}).get("tidemill", {})
    unknown = settings.keys() - {"path", "module"}
    if unknown:
        _fail(f"{file}: `[tool.tidemill]` has `path` and `module`, but not `{min(unknown)}`")
    return dict(settings)


def _own_modules(root: Path) -> Iterator[Path]:
    for file in root.rglob("*.py"):
        if _SDK not in file.resolve().parents:
            yield file


def _imports_state(file: Path) -> bool:
    """Whether a module takes `state` from `tidemill`, in one of the ways to write that.

    A file that is no Python is passed over: componentize-py tells what is wrong with it, if it is imported at all.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return False
    names = {"tidemill"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            if any(it.name == "tidemill.state" for it in node.names):
                return True
            names |= {it.asname for it in node.names if it.name == "tidemill" and it.asname}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            if node.module == "tidemill.state":
                return True
            if node.module == "tidemill" and any(it.name in ("state", "*") for it in node.names):
                return True
    attributes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "state")
    return any(isinstance(node.value, ast.Name) and node.value.id in names for node in attributes)


def _write_scratch(scratch: Path, project: Project, world: str, contract: Path) -> Path:
    """Writes what componentize-py is given besides the project."""
    shutil.rmtree(scratch, ignore_errors=True)
    for folder in ("entry", "wit", "nothing/lib/site-packages"):
        (scratch / folder).mkdir(parents=True)
    role = "projection" if world.startswith("projection") else "handler"
    entry = _ENTRY_TEXT.format(module=project.module, role=role, source=str(project.path[0]))
    (scratch / "entry" / f"{_ENTRY}.py").write_text(entry)
    version = re.search(r"^package tidemill:plugin@(.+);", (contract / "world.wit").read_text(), re.M)
    if version is None:
        _fail(f"`{contract}` holds another contract than `tidemill:plugin`")
    body = _WORLDS[world].replace("VERSION", version[1])
    (scratch / "wit" / "plugin.wit").write_text(f"package tidemill:python;\n\nworld plugin {{{body}}}\n")
    return scratch


def _contract() -> Path:
    """The contract: in the package where that is installed, beside it where it is a copy of the sources."""
    for folder in (_SDK / "wit", _SDK.parent.parent / "wit"):
        if folder.is_dir():
            return folder
    _fail(f"there is no contract (`wit`) in the SDK at `{_SDK.parent.parent}`")


def _environment() -> list[Path]:
    """The folders that packages are found in, if this runs in a virtual environment: its own, and those that it is led to."""
    if sys.prefix == sys.base_prefix:
        return []
    own = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    standard = Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix}))
    found = [Path(entry) for entry in sys.path if entry and Path(entry).is_dir()]
    return [it for it in dict.fromkeys(found) if it in own or (it != standard and standard not in it.parents)]


def _told(output: str) -> str:
    """What a person needs to see of what componentize-py says: without backtraces of its own."""
    if BEGIN in output:
        return output.partition(BEGIN)[2].partition(END)[0].strip()
    return output.partition("Stack backtrace:")[0].strip()


def _fail(why: str) -> NoReturn:
    print(why, file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
