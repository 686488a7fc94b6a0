"""What importing skprune brings along, and what works where torch is not installed."""

import json
import pickle
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest
from sklearn.datasets import load_iris

import skprune
from skprune import MagnitudePruner, MLPNetClassifier

WITHOUT_TORCH = """
import sys

class Forbidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "skorch"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Forbidden)
"""


def run_python(code, *args):
    """Run code in a new interpreter; give what it printed."""
    command = [sys.executable, "-c", code, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_interpreter_without_torch_has_none():
    code = """
for name in ("torch", "torch.nn", "skorch"):
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        print(error.name)
"""
    assert run_python(WITHOUT_TORCH + code).split() == ["torch", "torch", "skorch"]


def test_a_tree_is_pruned_without_torch():
    code = """
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier
from skprune import CostComplexityPruner, MagnitudePruner

X, y = load_iris(return_X_y=True)
pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0), sparsity=0.5).fit(X, y)
assert pruner.sparsity_ >= 0.5
assert (pruner.predict(X) == pruner.estimator_.predict(X)).all()
assert MagnitudePruner(estimator=None).get_params()["sparsity"] == 0.9
print(sorted({"torch", "skorch"} & set(sys.modules)))
"""
    assert run_python(WITHOUT_TORCH + code).strip() == "[]"


def test_a_pickled_sparse_net_predicts_without_torch(tmp_path):
    X, y = load_iris(return_X_y=True)
    labels = np.array(["setosa", "versicolor", "virginica"])[y]
    net = MLPNetClassifier((16,), lr=0.01, max_epochs=10)
    pruner = MagnitudePruner(net, sparsity=0.5, random_state=0).fit(X, labels)
    path = tmp_path / "iris.pickle"
    path.write_bytes(pickle.dumps((pruner.sparse_estimator_, X)))
    code = """
import json, pickle
from pathlib import Path

model, X = pickle.loads(Path(sys.argv[1]).read_bytes())
answer = {
    "type": type(model).__name__,
    "labels": model.predict(X).tolist(),
    "proba": model.predict_proba(X).tolist(),
    "one": model.predict(X[:1]).tolist(),
}
print(json.dumps(answer))
"""
    answer = json.loads(run_python(WITHOUT_TORCH + code, path))
    assert answer["type"] == "SparseClassifier"
    assert answer["labels"] == pruner.predict(X).tolist()
    assert answer["one"] == answer["labels"][:1]
    np.testing.assert_array_equal(np.float32(answer["proba"]), pruner.predict_proba(X))


@pytest.mark.parametrize("name", ["MLPNetClassifier", "MLPNetRegressor"])
def test_a_net_without_torch_names_the_extra(name):
    code = f"""
import skprune
try:
    skprune.{name}
except ImportError as error:
    print(error)
"""
    message = run_python(WITHOUT_TORCH + code)
    assert f"skprune.{name}" in message
    assert "torch" in message
    assert "skprune[nets]" in message


def test_what_is_no_net_is_refused_without_torch():
    code = """
from sklearn.tree import DecisionTreeClassifier
from skprune import MagnitudePruner
pruner = MagnitudePruner(DecisionTreeClassifier())
try:
    pruner.fit([[0.0], [1.0]], [0, 1])
except TypeError as error:
    print(sorted(vars(pruner)) == sorted(pruner.get_params(deep=False)), error)
"""
    unchanged, message = run_python(WITHOUT_TORCH + code).split(maxsplit=1)
    assert message.startswith("estimator must be a skorch net")
    assert unchanged == "True"


HEAVY = {"torch", "skorch", "pandas", "polars", "matplotlib", "onnxruntime"}


def loaded_by(code, before="pass"):
    """Name the top-level packages that some code imports, beyond those that `before` does."""
    listing = "{name.partition('.')[0] for name in sys.modules}"
    told = f"""
import json, sys
{before}
known = {listing}
{code}
print(json.dumps(sorted({listing} - known)))
"""
    return set(json.loads(run_python(told)))


def test_import_brings_nothing_heavy_along():
    assert "skprune" in loaded_by("import skprune")
    assert not loaded_by("import skprune") & (HEAVY | {"sklearn", "scipy"})


def test_the_pruners_bring_nothing_along_that_scikit_learn_does_not():
    # scikit-learn itself imports pandas where it is installed
    loaded = loaded_by(
        "from skprune import CostComplexityPruner, MagnitudePruner, PrunerCV, PruningCurveDisplay",
        "import sklearn.model_selection, sklearn.tree",
    )
    assert "skprune" in loaded
    assert not loaded & HEAVY


def test_import_takes_less_than_a_second():
    code = "import time; t = time.perf_counter(); import skprune; print(time.perf_counter() - t)"
    # the best of some: a busy machine is no slow import
    assert min(float(run_python(code)) for _ in range(5)) < 1.0


def test_public_names():
    assert skprune.__all__ == sorted(skprune.__all__)
    for name in skprune.__all__:
        assert getattr(skprune, name).__name__ == name
    subpackages = {"base", "engine", "masks", "nets", "trees"}
    assert set(dir(skprune)) == {*skprune.__all__, "__version__"}
    for name in subpackages:
        assert getattr(skprune, name).__name__ == f"skprune.{name}"
    with pytest.raises(AttributeError, match="no attribute 'Pruner'"):
        _ = skprune.Pruner


def test_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert skprune.__version__ == version("skprune")


def test_ships_its_type_hints():
    assert files("skprune").joinpath("py.typed").is_file()
