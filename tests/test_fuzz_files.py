"""Some thousands of the damaged files of fuzz/files.py; the docs tell of a million."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "fuzz" / "files.py"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc and sets limits")
def test_damaged_files_are_refused_or_load_what_can_predict(tmp_path):
    # in a process of its own, which a crash may end
    command = [sys.executable, str(SCRIPT), "--count", "3000", "--keep", str(tmp_path / "failures")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3000 of 3000 files" in done.stdout
    assert "refused" in done.stdout
    assert "loaded, predicts" in done.stdout
