"""The README's modules are written down as it says, and their tests run."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SDK = Path(__file__).resolve().parent.parent


class Readme(unittest.TestCase):
    def test_what_it_shows_works(self):
        blocks = re.findall(r"^```python\n# (\S+)\n(.*?)^```", (SDK / "README.md").read_text(), re.M | re.S)
        names = [name for name, _ in blocks]
        self.assertEqual(names[:2], ["src/fraud_check.py", "tests/test_fraud_check.py"])
        self.assertEqual(len(names), (SDK / "README.md").read_text().count("```python"), "every block names its file")
        with tempfile.TemporaryDirectory() as folder:
            for name, text in blocks:
                file = Path(folder, name)
                file.parent.mkdir(exist_ok=True)
                file.write_text(text)
            path = os.pathsep.join([f"{folder}/src", str(SDK / "src")])
            run = subprocess.run(
                [sys.executable, "-m", "unittest", "discover", "-s", "tests", "-v"],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": path},
                capture_output=True,
                text=True,
            )
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertEqual(run.stderr.count("... ok"), 3, run.stderr)
            for name in names:
                if name.startswith("src/"):
                    imported = [sys.executable, "-c", f"import {Path(name).stem}"]
                    subprocess.run(imported, env=os.environ | {"PYTHONPATH": path}, check=True)


if __name__ == "__main__":
    unittest.main()
