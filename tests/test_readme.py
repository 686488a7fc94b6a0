"""The README and the guide say what is so: commands, code blocks, columns, links."""

import doctest
import re
import runpy
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.rst"))


def command(name):
    """Read one of the README's two commands."""
    (found,) = re.findall(rf"<!-- command: {name} -->\n```sh\n(.*?)\n```", README, flags=re.DOTALL)
    return found


def steps(name):
    """Split a command into the steps that it joins by &&."""
    parts = [[]]
    for word in shlex.split(command(name)):
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


@pytest.mark.parametrize("name", ["example", "tests"])
def test_a_command_is_one_line_that_starts_from_nothing(name):
    assert "\n" not in command(name)
    make, install, _ = steps(name)
    assert make == ["python3", "-m", "venv", ".venv"]
    assert install[:3] == [".venv/bin/pip", "install", "-q"]
    assert (ROOT / install[install.index("-c") + 1]).is_file()


def test_the_first_command_runs_the_main_job():
    *_, install, (python, script) = steps("example")
    assert install[-1] == ".[nets]"
    assert python == ".venv/bin/python"
    assert (ROOT / script).is_file()


def test_the_second_command_runs_the_tests():
    *_, install, run = steps("tests")
    assert install[-2:] == ["-e", ".[test]"]
    assert run == [".venv/bin/pytest"]


def test_ci_reads_the_second_command_from_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    assert "<!-- command: tests -->" in script
    assert "README.md" in script
    assert script.rstrip().endswith('run "$tests"')
    assert "pytest" not in script


def test_the_result_has_the_columns_that_the_example_prints():
    *_, (_, script) = steps("example")
    columns = runpy.run_path(str(ROOT / script))["COLUMNS"]
    (heading,) = re.findall(r"^model  .*", README, flags=re.MULTILINE)
    assert tuple(re.split(r"\s{2,}", heading)) == columns


def test_the_tour_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) >= 2
    scope = {}
    for block in blocks:
        exec(block, scope)
    assert scope["search"].best_params_["magnitudepruner__sparsity"] in (0.8, 0.9, 0.95)
    assert scope["search"].score(scope["X_test"], scope["y_test"]) > 0.9
    assert type(scope["model"]).__name__ == "SparseClassifier"
    test = scope["X_test"], scope["y_test"]
    assert scope["loaded"].score(*test) == pytest.approx(scope["search"].score(*test), abs=0.005)
    assert scope["tree"].sparsity_ >= 0.5


def test_files_that_the_readme_links_to_exist():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_code_on_the_pages_of_the_guide_runs(page):
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, tried = doctest.testfile(
        str(ROOT / "docs" / page), module_relative=False, optionflags=options
    )
    assert failed == 0
    assert tried > 0 or page != "user_guide.rst"


def test_every_version_that_ci_runs_is_exact():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    named = {pin.partition("==")[0] for pin in pins}
    assert {"numpy", "scipy", "scikit-learn", "safetensors", "torch", "skorch"} <= named
    assert {"pytest", "nanobind", "scikit-build-core"} <= named
