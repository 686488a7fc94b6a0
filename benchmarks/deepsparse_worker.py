"""Runs DeepSparse in an environment of its own, for `peers.py`: a line in, a line out, in JSON.

Its first line is its version; then:

    {"model": "net.onnx", "rows": "rows.npy", "answers": "answers.npy", "cores": 1}
        compiles the model for as many rows, and writes what it answers
    {"calls": 20, "warm": true}
        answers so often, and says how long that took: {"cpu": 0.011, "wall": 0.011}

Needs deepsparse and numpy, and `timing.py` beside it.
"""

import json
import os
import sys

import numpy as np
from timing import elapsed, settle


def main() -> None:
    # DeepSparse prints its banner, too, so what would go to standard output goes to standard error.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import deepsparse

    print(json.dumps({"version": deepsparse.__version__}), file=replies)
    call, cores = None, 1
    for line in sys.stdin:
        request = json.loads(line)
        if "model" in request:
            rows, cores = np.load(request["rows"]), request["cores"]
            engine = deepsparse.compile_model(
                request["model"], batch_size=len(rows), num_cores=cores
            )

            def call(engine=engine, rows=rows):
                return engine.run([rows], val_inp=False)[0]  # without its checks: in its favour

            np.save(request["answers"], call())
            reply = {}
        else:
            reply = elapsed(call, request["calls"], request["warm"])._asdict()
            if cores > 1:
                settle()  # or its pool would spin in another's turn
        print(json.dumps(reply), file=replies)


if __name__ == "__main__":
    main()
