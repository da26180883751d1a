"""The cost per node of a long tape: functions of 1,000 to 100,000 operations, compared with autograd.

    python benchmarks/long_tapes.py [--most 100000]

sums      s = s + x_i x_j                     one sum of all terms
chains    x = sin x                           a product of all factors
stacks    h = tanh(h + x), all kept           a list of arrays, stacked at the end
scans     Rosenbrock's function as a loop     numbers of a vector, one at a time

Per operation: microseconds of CPU time to record, for the first push and pull with a plan, for later ones and for one
over the tape as recorded, and kilobytes held. Each size runs in a process of its own. The exponent k of n^k is fitted
to the sizes; 1 is linear. autograd's column is one gradient (of the sum of the outputs), recorded and swept; rmad's
`grad` does the same.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

COLUMNS = ("record", "first push", "push", "push, no plan", "first pull", "pull", "pull, no plan", "grad", "autograd")
AUTOGRADS_MOST = 10_000  # operations: its stack takes time quadratic in the number of arrays
KINDS = ("sums", "chains", "stacks", "scans")


def function(kind: str, n: int, np: Any) -> tuple[Callable[[Any], Any], int]:
    """The function of one array, written with the NumPy that it is given, and the length of the array."""

    def sums(x: Any) -> Any:
        s = 0.0
        for i in range(n):
            s = s + x[i % 8] * x[(i + 1) % 8]
        return s

    def chains(x: Any) -> Any:
        for _ in range(n):
            x = np.sin(x)
        return x

    def stacks(x: Any) -> Any:
        h, found = x, []
        for _ in range(n):
            h = np.tanh(h + x)
            found.append(h)
        return np.stack(found)

    def scans(x: Any) -> Any:
        s = 0.0
        for i in range(n // 10):
            s = s + 100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2
        return s

    lengths = {"sums": 8, "chains": 4, "stacks": 4, "scans": n // 10 + 1}
    return locals()[kind], lengths[kind]


def measured(kind: str, n: int) -> dict[str, float]:
    """Microseconds per operation and column, in this process."""
    import numpy as np

    import rmad
    from rmad.extend import Plan, Record

    f, length = function(kind, n, np)
    x = np.full(length, 0.5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times, record = timed(lambda: Record(f, x, ()))
    found = {"record": times}
    u = np.ones_like(record.y)
    found["push, no plan"], _ = timed(lambda: record.push_arrays([x]))
    found["pull, no plan"], _ = timed(lambda: record.pull_arrays([u]))
    plan = Plan(record.tape, record.outputs, record.n_inputs)
    found["first push"], _ = timed(lambda: plan.Jv([x]))
    found["push"], _ = timed(lambda: plan.Jv([x]))
    found["first pull"], _ = timed(lambda: plan.JTu([u]))
    found["pull"], _ = timed(lambda: plan.JTu([u]))
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    found = {name: 1e6 * seconds / n for name, seconds in found.items()}
    found["grad"] = 1e6 * timed(lambda: rmad.grad(lambda x: np.sum(f(x)))(x))[0] / n
    if n <= AUTOGRADS_MOST and importlib.util.find_spec("autograd") is not None:
        import autograd
        import autograd.numpy as anp

        g = function(kind, n, anp)[0]
        sys.setrecursionlimit(10_000)
        found["autograd"] = 1e6 * timed(lambda: autograd.grad(lambda x: anp.sum(g(x)))(x))[0] / n
    return {**found, "kilobytes": held / n}


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of one call, and its result."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=100_000, help="operations of the longest function")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "N"), help="measure in this process and print JSON")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measured(arguments.one[0], int(arguments.one[1]))))
        return 0

    import numpy as np
    import runner

    sizes = [n for n in (1000, 10_000, 100_000) if n <= arguments.most]
    rows = [["function", "n", *COLUMNS, "kilobytes"]]
    for kind in KINDS:
        found = [_in_a_process(kind, n) for n in sizes]
        for n, row in zip(sizes, found, strict=True):
            rows.append([kind, f"{n:,}", *(f"{row[c]:.2f}" if c in row else "–" for c in (*COLUMNS, "kilobytes"))])
        exponents = ["exponent", ""]
        for c in COLUMNS:
            there = [(n, n * max(row[c], 1e-3)) for n, row in zip(sizes, found, strict=True) if c in row]
            exponents.append(f"{np.polyfit(*np.log(there).T, 1)[0]:.2f}" if len(there) > 1 else "–")
        rows.append([*exponents, ""])
    print(runner.markdown(rows))
    return 0


def _in_a_process(kind: str, n: int) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, "--one", kind, str(n)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
