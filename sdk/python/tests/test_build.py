"""A project is found as its pyproject.toml says, and componentize-py is told what it must know. Another program stands in for it."""

import contextlib
import io
import json
import os
import stat
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tidemill import _verdict, build

SDK = Path(__file__).resolve().parent.parent

# Writes down what it is given, as the component.
STAND_IN = f"""#!{sys.executable}
import json, os, sys
if os.environ.get("SAY"):
    sys.exit(os.environ["SAY"])
path = [sys.argv[n + 1] for n, word in enumerate(sys.argv) if word == "-p"]
told = {{
    "arguments": sys.argv[1:],
    "path": path,
    "entry": open(path[-1] + "/tidemill_entry.py").read(),
    "world": open(sys.argv[sys.argv.index("-w") - 1] + "/plugin.wit").read(),
    "environment": os.environ["VIRTUAL_ENV"],
}}
json.dump(told, open(sys.argv[-1], "w"))
"""

HANDLER = "from tidemill import Event, emit, handler\n@handler\ndef check(event: Event) -> None: ...\n"


class Build(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory())) / "order-check"
        self.folder.mkdir()
        self.enterContext(contextlib.chdir(self.folder))
        self.tool = self.folder / "componentize-py"
        self.tool.write_text(STAND_IN)
        self.tool.chmod(self.tool.stat().st_mode | stat.S_IXUSR)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = Path(name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run_build(self, *more: str) -> dict[str, object]:
        build.main(["--componentize-py", str(self.tool), "-o", "made", *more])
        return json.loads(Path("made").read_text())

    def fail_build(self, *more: str) -> str:
        said = io.StringIO()
        with contextlib.redirect_stderr(said), self.assertRaises(SystemExit) as caught:
            self.run_build(*more)
        self.assertEqual(caught.exception.code, 1)
        return said.getvalue().strip()

    def test_a_project_needs_no_settings(self):
        self.write(src__order_check=HANDLER)
        told = self.run_build()
        self.assertEqual(told["path"][:2], ["src", str(SDK / "src")])
        self.assertIn("load('order_check', 'handler', 'src')", told["entry"])
        self.assertIn(str(SDK / "wit"), told["arguments"])
        self.assertEqual(os.listdir(told["environment"] + "/lib/site-packages"), [], "nothing of this machine is taken")

    def test_a_project_may_say_where_its_modules_are(self):
        Path("pyproject.toml").write_text('[tool.tidemill]\npath = ["lib", "more"]\nmodule = "shop.orders"\n')
        self.write(lib__shop____init__="", lib__shop__orders=HANDLER, more__money="")
        told = self.run_build("--world", "projection")
        self.assertEqual(told["path"][:2], ["lib", "more"])
        self.assertIn("load('shop.orders', 'projection', 'lib')", told["entry"])
        self.assertIn("include tidemill:plugin/projection@0.2.0;", told["world"])

    def test_state_is_in_the_world_only_if_a_module_imports_it(self):
        for line, uses in [
            ("from tidemill import state", True),
            ("from tidemill import Event, state as kept", True),
            ("from tidemill import *", True),
            ("from tidemill.state import put", True),
            ("import tidemill.state", True),
            ("import tidemill\ndef f(): tidemill.state.get('a')", True),
            ("import tidemill as t\ndef f(): t.state.get('a')", True),
            ("from tidemill import Event\ndef f(order): order.state", False),
            ("from shop import state", False),
            ("from .tidemill import state", False),
            ("# from tidemill import state", False),
            ("def f(:", False),
        ]:
            with self.subTest(line):
                self.write(src__order_check=HANDLER, src__shop__more=line)
                world = self.run_build()["world"]
                includes = "include tidemill:plugin/handler@0.2.0;" in world
                self.assertEqual((includes, "plugin/emit@0.2.0" in world), (uses, not uses))

    def test_packages_of_a_virtual_environment_are_found(self):
        self.write(src__order_check=HANDLER)
        packages = self.folder / ".venv/lib/python3/site-packages"
        linked = self.folder / "linked"
        for folder in (packages, linked):
            folder.mkdir(parents=True)
        with (
            mock.patch.object(sys, "prefix", str(self.folder / ".venv")),
            mock.patch.object(sys, "path", [*sys.path, str(packages), str(linked), str(self.folder / "gone")]),
            mock.patch(
                "sysconfig.get_path", lambda name, vars=None: os.__file__.rpartition("/")[0] if vars else str(packages)
            ),
        ):
            path = self.run_build()["path"]
        self.assertTrue({str(packages), str(linked)} <= set(path), path)
        self.assertNotIn(str(self.folder / "gone"), path)
        self.assertNotIn(os.__file__.rpartition("/")[0], path)

    def test_mistakes_are_told_in_a_sentence(self):
        self.assertEqual(
            self.fail_build(),
            "`path` of `[tool.tidemill]` in pyproject.toml names `src`, and there is no such folder",
        )
        self.write(src__other=HANDLER)
        self.assertEqual(
            self.fail_build(),
            "there is no module `order_check` in `src`; `module` of `[tool.tidemill]` in pyproject.toml names the one that has "
            "the `@handler` or the `@projection`",
        )
        for text, expected in [
            (
                "[tool.tidemill]\nmodul = 'x'",
                "pyproject.toml: `[tool.tidemill]` has `path` and `module`, but not `modul`",
            ),
            ("[tool.tidemill", "pyproject.toml: Expected ']' at the end of a table declaration"),
            ("[tool.tidemill]\nmodule = 'email'", "the module `email` is called like one of Python's own"),
        ]:
            with self.subTest(text):
                Path("pyproject.toml").write_text(text)
                self.assertTrue(self.fail_build().startswith(expected), self.fail_build())

    def test_of_what_componentize_py_says_the_authors_part_is_shown(self):
        self.write(src__order_check=HANDLER)
        for said, shown in [
            (
                f"AssertionError: x\n{_verdict.BEGIN}\nTypeError: no handler\n{_verdict.END}\nStack backtrace: y",
                "TypeError: no handler",
            ),
            ("a world is wrong\n\nStack backtrace:\n 0: x", "a world is wrong"),
        ]:
            with self.subTest(shown), mock.patch.dict(os.environ, {"SAY": said}):
                self.assertEqual(self.fail_build(), shown)

    def test_a_missing_tool_is_told_with_the_command_that_brings_it(self):
        self.write(src__order_check=HANDLER)
        command = "python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1"
        self.assertIn(command, self.fail_build("--componentize-py", ""))


if __name__ == "__main__":
    unittest.main()
