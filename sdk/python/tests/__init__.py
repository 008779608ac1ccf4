"""Lets `python3 -m unittest` and `pytest` find the package where it is not installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
