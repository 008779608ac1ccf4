"""Lets the SDK of a project build it. `tidemill build` writes this file and runs it in the project's folder.

Where the SDK is, the project says: `path` of `[tool.tidemill]` in its pyproject.toml. Without that it is the one in `vendor/`, or the
one that is installed.
"""

import sys
import tomllib
from pathlib import Path

try:
    project = tomllib.loads(Path("pyproject.toml").read_text())
except FileNotFoundError:
    project = {}
except ValueError as error:
    sys.exit(f"pyproject.toml: {error}")
folders = project.get("tool", {}).get("tidemill", {}).get("path", ["vendor/tidemill/src"])
# In place of this file's own folder.
sys.path[:1] = [str(Path(folder).resolve()) for folder in folders]

try:
    from tidemill.build import main
except ModuleNotFoundError:
    sys.exit(
        "the SDK is not there: `path` of `[tool.tidemill]` in pyproject.toml says where `tidemill` is; "
        "`tidemill new handler --lang python NAME` makes a project that has it"
    )
main()
