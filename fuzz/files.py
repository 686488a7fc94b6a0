"""Damage saved models, and see that `skprune.load` refuses them or loads what can predict.

    python fuzz/files.py --count 1000000 --jobs 2 --seed 0

Most damage is done to the parts of a file, which are then put together again, so that it gets past
the outer format to the checks of the model. File number n of a seed is always the same, so a
failure can be had again: it is also kept, in the folder of `--keep`.

Anything but a FileFormatError from `load`, any error of a loaded model's `predict`, a file that
takes longer than a second or more memory than `--memory`, and a crash are failures, and the exit
status is then 1. Needs a POSIX system.
"""

import argparse
import json
import math
import multiprocessing
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from contextlib import suppress
from copy import deepcopy
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from scipy.sparse import csr_array

from skprune import FileFormatError, SparseClassifier, SparseRegressor
from skprune.categories import Categories
from skprune.engine import ACTIVATIONS, Forest, Layer, Network, Tree
from skprune.engine.file import _DTYPES, read_header, read_tensors
from skprune.saving import load_bytes, save_bytes

SECONDS_A_FILE = 1.0
SECONDS_UNTIL_HUNG = 20.0  # of the clock on the wall, which a busy machine stretches
WIDEST_ROWS = 4096  # wider rows are the caller's memory, not the file's


# -- what is damaged -----------------------------------------------------------------------------


@cache
def sound_files() -> tuple[bytes, ...]:
    """Make small files of every kind."""
    rng = np.random.default_rng(0)
    files = []

    def add(model, classes=None, dtype="float32", names=None, **options):
        common = {"feature_names_in": names, **options}
        made = (
            SparseRegressor(model, **common)
            if classes is None
            else SparseClassifier(model, classes=classes, **common)
        )
        files.append(save_bytes(made, dtype=dtype))

    names = np.array(["width", "höhe", ""], dtype=object)
    for k, activation in enumerate(ACTIVATIONS):
        first = _layer(rng, 5, 3, activation, "first")
        net = Network([first, _layer(rng, 2, 5, "softmax", "last")])
        add(net, np.array(["no", "yes"]), ("float32", "float16")[k % 2], names if k % 3 else None)
    add(Network([_layer(rng, 2, 3, "identity", "")], fill=[0.5, -1.0, 0.0]), flat=False)
    add(Network([_layer(rng, 3, 3, "log_softmax", "")]), np.array([0.5, 1.5, -2.0]))
    deep = [_layer(rng, 4, 4, "relu", f"fc{k}") for k in range(4)]
    add(Network(deep, n_hidden=2, hidden_constants=[np.nan, 1, np.nan, np.nan, 2, np.nan]))
    add(Network([_layer(rng, 2, 3, "softmax", "")]), np.array([False, True]), threshold=0.4)
    for options in ({}, {"allow_nan": True}):
        add(Tree(**_nodes(rng, [5], 2), n_features_in=3, **options), np.array([3, 7]))
        add(Tree(**_nodes(rng, [4], 1), n_features_in=3, **options), names=names)
    two = [np.array(["a", "b"], dtype=object), np.array([1, 2, 3], dtype=np.int8)]
    add(_forest(rng, 5, link="clip", groups=[2, 3]), two)
    add(_forest(rng, 3, link="identity", divisor=3.0, dtype="float64", allow_nan=True), flat=False)
    for known in (
        ["Bern", "Chur", None],
        [True, 2, "höhe\ud800"],
        np.arange(3, dtype=np.int8),
        [0.5, 1.5, 7],
        np.array(["2020-01-01", "2021-01-01"], "datetime64[us]"),
    ):
        categories = Categories({1: known}, n_features_in=3)
        forest = _forest(rng, 1, categories=categories.in_engine, dtype="float64", allow_nan=True,
                         accepts_sparse=False)  # fmt: skip
        add(forest, names=names, categories=categories)
    for link in ("exp", "sigmoid", "exponential", "softmax"):
        sums = 3 if link == "softmax" else 1
        boosted = {"outputs": np.arange(3) % sums, "base": rng.normal(size=sums), "link": link}
        classes = None if link == "exp" else np.array(["x", "yy", "zzz"][: max(2, sums)])
        options = {} if classes is None else {"decision_threshold": 0.0}
        add(_forest(rng, 1, **boosted), classes, **options)
        add(_forest(rng, 1, **boosted, **_categories(rng)), classes, **options)
    return tuple(files)


def _layer(rng, n_out, n_in, activation, name):
    weight = rng.normal(size=(n_out, n_in)).astype(np.float32) * (rng.random((n_out, n_in)) < 0.6)
    return Layer(
        csr_array(weight), rng.normal(size=n_out).astype(np.float32), activation, 0.1, name
    )


_SIZES = (3, 1, 7)  # of the trees of a forest


def _nodes(rng, splits, n_values):
    """Make random trees of so many splits each."""
    left, right = [], []
    for n_splits in splits:
        own = np.full((2, 2 * n_splits + 1), -1)
        leaves = [0]
        for k in range(n_splits):
            node = leaves.pop(int(rng.integers(len(leaves))))
            own[:, node] = 2 * k + 1, 2 * k + 2
            leaves += own[:, node].tolist()
        left.append(own[0])
        right.append(own[1])
    left, right = np.concatenate(left), np.concatenate(right)
    n_nodes = len(left)
    return {
        "feature": np.where(left < 0, -2, rng.integers(0, 3, n_nodes)),
        "threshold": np.where(left < 0, -2.0, rng.normal(size=n_nodes)),
        "left": left,
        "right": right,
        "value": rng.normal(size=(n_nodes, n_values)),
        "missing_go_to_left": rng.random(n_nodes) < 0.5,
    }


def _forest(rng, n_values, **options):
    sizes = [2 * n_splits + 1 for n_splits in _SIZES]
    starts = np.cumsum([0, *sizes])
    nodes = _nodes(rng, _SIZES, n_values)
    if "categories" in options:
        options["by_category"] = (nodes["feature"] == 1) & (nodes["left"] >= 0)
        options["left_categories"] = rng.integers(
            0, 2**32, (len(nodes["left"]), 2), dtype=np.uint32
        )
    return Forest(**nodes, tree_starts=starts, n_features_in=3, **options)


def _categories(rng):
    known = np.sort(rng.choice(np.arange(100.0), 40, replace=False))
    return {"categories": {0: np.array([0.0, 1.0]), 1: known}, "dtype": "float64"}


# -- files in parts ------------------------------------------------------------------------------


class Parts:
    """A file taken apart: the header of the model and the tensors, to be damaged at will."""

    def __init__(self, data: bytes) -> None:
        self.header = read_header(data)
        self.tensors = {name: array.copy() for name, array in read_tensors(data).items()}

    def joined(self) -> bytes:
        """Put the file together: sound on the outside, whatever it is within."""
        return join(*self.outside())

    def outside(self):
        """Give the outer header and the bytes of the tensors, the way safetensors has them."""
        entries, body = {}, b""
        for name, array in self.tensors.items():
            content = np.ascontiguousarray(array).tobytes()
            entries[name] = {
                "dtype": _NAMES.get(array.dtype.str[1:], "C64"),
                "shape": list(array.shape),
                "data_offsets": [len(body), len(body) + len(content)],
            }
            body += content
        return {"__metadata__": {"skprune": json.dumps(self.header)}, **entries}, body


_NAMES = {code[1:]: name for name, code in _DTYPES.items()}


def join(outer, body: bytes) -> bytes:
    """Write the outer header before the body."""
    text = json.dumps(outer).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


# -- damage --------------------------------------------------------------------------------------

_INTS = [0, 1, 2, 3, 255, 256, 2**15, 2**16 - 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1]
_FLOATS = [0.0, -0.0, 1.0, -1.0, 1e-45, 3e38, -3e38, 65504.0, 1e300, math.inf, -math.inf, math.nan]
_JSON = [
    *(
        0,
        1,
        -1,
        2,
        3,
        4,
        17,
        2**16,
        2**27 - 2,
        2**27 - 1,
        2**27,
        2**31,
        2**53,
        2**63,
        2**64,
        10**400,
    ),
    *(0.0, -0.5, 1e300, 1e-300, math.nan, math.inf, -math.inf, 1.0, 0.5),
    *(None, True, False, "", "x" * 1000, "\ud800", "\0", [], {}, [[]], [{}], {"kind": "tree"}),
    *("network", "tree", "forest", "classifier", "regressor", "float32", "float64", "float16"),
    *("identity", "exp", "sigmoid", "exponential", "softmax", "clip", "relu", "elu", "gelu"),
    *("number", "bool", "str", "object", "0.1.0", "9.9.9", "os.system", "__class__"),
]


def extreme_entries(random: Random, parts: Parts) -> None:
    """Put extreme numbers, and those of other places, into a tensor."""
    array = parts.tensors[_name(random, parts)].reshape(-1)
    if not array.size:
        return
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(array.size)
        if random.random() < 0.3:
            array[at] = array[random.randrange(array.size)]
        elif array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                array[at] = random.choice(_FLOATS)
        else:
            number = random.choice(_INTS) if random.random() < 0.5 else random.randrange(20)
            array[at] = np.array(number).astype(array.dtype)


def resize(random: Random, parts: Parts) -> None:
    """Make a tensor longer or shorter."""
    name = _name(random, parts)
    array = parts.tensors[name]
    if array.ndim:
        rows = (
            [random.randrange(len(array)) for _ in range(random.randrange(4))] if len(array) else []
        )
        kept = random.choice((len(array), len(array), max(0, len(array) - 1), 0))
        parts.tensors[name] = np.concatenate([array[:kept], array[rows]])


def reorder(random: Random, parts: Parts) -> None:
    """Turn, sort or shuffle a tensor."""
    name = _name(random, parts)
    array = parts.tensors[name]
    order = list(range(len(array))) if array.ndim else []
    random.shuffle(order)
    if array.ndim:
        turned = (array[::-1], np.sort(array, axis=0), array[order])
        parts.tensors[name] = random.choice(turned).copy()


def retype(random: Random, parts: Parts) -> None:
    """Read or write a tensor in another dtype."""
    name, dtype = _name(random, parts), np.dtype(random.choice(list(_DTYPES.values())))
    array = np.ascontiguousarray(parts.tensors[name])
    with warnings.catch_warnings(action="ignore"):
        if random.random() < 0.5:
            parts.tensors[name] = array.astype(dtype)
        elif array.nbytes % dtype.itemsize == 0:
            parts.tensors[name] = array.reshape(-1).view(np.uint8).view(dtype)


def reshape(random: Random, parts: Parts) -> None:
    """Give a tensor another shape of as many entries, or of none."""
    name = _name(random, parts)
    array = parts.tensors[name]
    shapes = [(-1,), (1, -1), (-1, 1), (1, 1, -1)]
    if array.size % 2 == 0:
        shapes += [(2, -1), (-1, 2)] if array.size else [(0, 2**20), (3, 0)]
    parts.tensors[name] = array.reshape(random.choice(shapes)) if array.size else array


def swap(random: Random, parts: Parts) -> None:
    """Exchange two tensors."""
    one, two = _name(random, parts), _name(random, parts)
    parts.tensors[one], parts.tensors[two] = parts.tensors[two], parts.tensors[one]


def rename(random: Random, parts: Parts) -> None:
    """Drop a tensor, or give it another's name or a new one."""
    array = parts.tensors.pop(_name(random, parts))
    names = [*parts.tensors, "fill", "hidden_constants", "outputs", "by_category", "0.bias", "odd"]
    names += ["known.columns", "known.values.text"]
    if random.random() < 0.6:
        parts.tensors[random.choice(names)] = array


def borrow_tensors(random: Random, parts: Parts) -> None:
    """Take tensors over from another file."""
    other = Parts(random.choice(sound_files()))
    for name in random.sample(sorted(other.tensors), random.randint(1, len(other.tensors))):
        parts.tensors[name] = other.tensors[name]


def borrow_header(random: Random, parts: Parts) -> None:
    """Take the header, or the model's part of it, over from another file."""
    other = Parts(random.choice(sound_files()))
    if random.random() < 0.5:
        parts.header = other.header
    elif isinstance(parts.header, dict):
        parts.header["model"] = other.header["model"]


def change_header(random: Random, parts: Parts) -> None:
    """Change a value of the header, or its keys."""
    places = list(_places(parts.header))
    if not places:
        return
    holder, key = random.choice(places)
    chance = random.random()
    if chance < 0.7:
        holder[key] = _json(random)
    elif chance < 0.8:
        del holder[key]
    elif isinstance(holder, dict):
        holder[random.choice([*holder, "odd", "kind", "threshold"])] = _json(random)
    else:
        holder.append(deepcopy(random.choice(holder)))


def _json(random: Random):
    return deepcopy(random.choice(_JSON))  # or damage to one file would be in the next ones too


def _places(value):
    """Yield every place of a JSON value as what holds it and the key or index."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _name(random: Random, parts: Parts) -> str:
    return random.choice(sorted(parts.tensors))


PART_DAMAGE = (
    *([extreme_entries] * 5),
    *([change_header] * 4),
    *(resize, resize, reorder, retype, reshape, swap, rename, borrow_tensors, borrow_header),
)


def damaged_outside(random: Random, parts: Parts) -> bytes:
    """Change the outer header: offsets, shapes, dtypes, metadata."""
    outer, body = parts.outside()
    for _ in range(random.choice((1, 1, 2))):
        holder, key = random.choice(list(_places(outer)))
        if random.random() < 0.8 or isinstance(holder, list):
            others = (len(body), *_DTYPES, "BF16", "BOOL", "F8_E4M3")
            holder[key] = _json(random) if random.random() < 0.7 else random.choice(others)
        else:
            holder[random.choice([*holder, "odd"])] = holder.pop(key)
        if not any(True for _ in _places(outer)):
            break
    return join(outer, body)


def damaged_bytes(random: Random, parts: Parts) -> bytes:
    """Flip bits, splice, cut off, or tell another length of the header."""
    data = bytearray(parts.joined())
    kind = random.randrange(5)
    if kind == 0:
        for _ in range(random.choice((1, 2, 8))):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif kind == 1:
        at, length = random.randrange(len(data)), random.randrange(1, 40)
        start = random.randrange(len(data))
        data[at : at + random.choice((0, length))] = data[start : start + length]
    elif kind == 2:
        del data[random.randrange(len(data)) :]
    elif kind == 3:
        data += random.randbytes(random.randrange(1, 20))
    else:
        length = random.choice((0, 1, 7, len(data), len(data) - 8, 2**20, 2**32, 2**63, 2**64 - 1))
        data[:8] = length.to_bytes(8, "little")
    return bytes(data)


def damaged(seed: int, number: int) -> bytes:
    """Make the damaged file of this number."""
    random = Random((seed << 40) + number)
    parts = Parts(random.choice(sound_files()))
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 4))):
        if parts.tensors:
            random.choice(PART_DAMAGE)(random, parts)
    chance = random.random()
    if chance < 0.08:
        return damaged_outside(random, parts)
    if chance < 0.16:
        return damaged_bytes(random, parts)
    return parts.joined()


# -- what must hold ------------------------------------------------------------------------------


def outcome(data: bytes, engine: str) -> str:
    """Load a file and use the model; say how it went, or raise what must not be raised."""
    try:
        model = load_bytes(data, engine=engine)
    except FileFormatError:
        return "refused"
    width = model.n_features_in_
    if width > WIDEST_ROWS:
        return "loaded, too wide to predict"
    for n_rows in (1, 9):
        X = np.full((n_rows, width), 0.75, dtype=np.float32)
        X[-1] = -1e30
        _use(model, X)
    X[0] = np.nan
    if model.model.allow_nan:
        _use(model, X)
    else:
        # an error, as it should, but where all columns hold categories or are filled in
        with suppress(ValueError):
            model.model.predict(X)
    return "loaded, predicts"


def _use(model, X) -> None:
    names = model.feature_names_in
    if names is not None:  # what a data frame has is checked by scikit-learn, slowly, not by us
        model = type(model)(**{**model.get_params(), "feature_names_in": None})
    if model.categories is not None:
        X = X.astype(object)  # a column of numbers holds no text
    predicted = model.predict(X)
    assert len(predicted) == len(X)
    if isinstance(model, SparseClassifier):
        model.predict_proba(X)
        if hasattr(model, "decision_function"):
            model.decision_function(X)
    model.transform(X)


def run(seed, first, step, count, engine, memory, told, results) -> None:
    """Try files; tell in `told` which one is being tried."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    sound_files()
    limit = resident_pages() * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    counts: Counter[str] = Counter()
    for number in range(first, count, step):
        data = damaged(seed, number)
        told[0] = number
        told[1] += 1
        start = time.process_time()
        try:
            found = outcome(data, engine)
        except BaseException as error:  # a panic of safetensors' Rust is no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            where = traceback.extract_tb(error.__traceback__)[-1]
            found = f"FAILED: {type(error).__name__} in {where.name}"
            results.put(("failure", number, "".join(traceback.format_exception(error))))
        if time.process_time() - start > SECONDS_A_FILE:
            found = "FAILED: slow"
            results.put(("failure", number, f"took {time.process_time() - start:.1f} s"))
        counts[found] += 1
        if told[1] % 1000 == 0:
            results.put(("counts", number, counts))
            counts = Counter()
    results.put(("counts", None, counts))


def resident_pages() -> int:
    """Give the size of this process's address space in pages."""
    return int(Path("/proc/self/statm").read_text().split()[0])


def main() -> int:
    """Run workers, watch them, and count."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000, help="files to try")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", default="auto", choices=("auto", "native", "scipy"))
    parser.add_argument("--memory", type=int, default=64, help="MB that a worker may grow by")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="for bad files")
    given = parser.parse_args()

    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    start = time.time()
    counts: Counter[str] = Counter()
    sound_files()

    def launch(first):
        told = context.RawArray("q", [first, 0])
        arguments = (given.seed, first, given.jobs, given.count, given.engine)
        worker = context.Process(target=run, args=(*arguments, given.memory << 20, told, results))
        worker.start()
        return [worker, told, (0, time.time())]

    def keep(number, why):
        given.keep.mkdir(parents=True, exist_ok=True)
        path = given.keep / f"{given.seed}-{number}.skprune"
        path.write_bytes(damaged(given.seed, number))
        print(f"{path}: {why}", flush=True)

    def collect():
        while not results.empty():
            kind, number, found = results.get()
            if kind == "failure":
                keep(number, found)
            else:
                counts.update(found)

    workers = [launch(first) for first in range(given.jobs)]
    while workers:
        time.sleep(0.05)
        collect()
        for entry in list(workers):
            worker, told, (seen, since) = entry
            if told[1] != seen:
                entry[2] = (told[1], time.time())
            hung = worker.is_alive() and time.time() - since > SECONDS_UNTIL_HUNG
            if hung:
                worker.kill()
                worker.join()
            if worker.is_alive():
                continue
            workers.remove(entry)
            if hung or worker.exitcode:
                why = "hung" if hung else f"crashed, exit status {worker.exitcode}"
                keep(told[0], why)
                counts[f"FAILED: {why}"] += 1
                workers.append(launch(told[0] + given.jobs))
    collect()

    seconds = time.time() - start
    print(f"{counts.total()} of {given.count} files, seed {given.seed}, in {seconds:.0f} s")
    for name, number in counts.most_common():
        print(f"{number:>9}  {name}")
    return int(any(name.startswith("FAILED") for name in counts))


if __name__ == "__main__":
    sys.exit(main())
