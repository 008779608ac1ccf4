"""Lets `python3 -m unittest` and `pytest` find what `tidemill build` finds."""

import sys
import tomllib
from pathlib import Path

project = Path(__file__).resolve().parent.parent
settings = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["tidemill"]
sys.path[:0] = [str(project / folder) for folder in settings["path"]]
