"""Programs of an MPI job, which test_ranks_mpi.py starts: mpiexec -n 2 python mpi_job.py NAME …"""

from __future__ import annotations

import hashlib
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
STEPS = 8
KINDS = "raise", "exit", "hard exit", "kill", "interrupt", "parameters", "stop"


def equality(names):
    """Every rank has the bits of as many shards in one process, in quantities and in steps of the optimizers."""
    import numpy as np
    import ranked
    from mpi4py import MPI

    import optim
    import optim.problem.parameters
    from optim import tuning

    ranks = optim.Ranks(MPI.COMM_WORLD)
    tuning.SHORT_MESSAGE = 100  # stretches of vectors, too
    names = [name for name in ranked.ROWS if not names or name in names]
    optim.problem.parameters.cores = lambda: 1
    found, steps = ranked.quantities(26, ranks=ranks), [ranked.steps(name, ranks=ranks) for name in names]
    own = hashlib.sha1(repr([found, steps]).encode()).hexdigest()
    assert len(set(ranks.gathered(lambda: own))) == 1, "ranks differ"
    if ranks.rank == 0:
        optim.problem.parameters.cores = lambda: ranks.size
        for name, value in ranked.quantities(26, shards=ranks.size).items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)
        for name, (theta, state, infos) in zip(names, steps, strict=True):
            expected_theta, expected_state, expected_infos = ranked.steps(name, shards=ranks.size)
            np.testing.assert_array_equal(theta, expected_theta, err_msg=name)
            assert str(infos) == str(expected_infos), name
            for entry, value in expected_state.items():
                np.testing.assert_array_equal(state[entry], value, err_msg=f"{name}: {entry}")
        print(f"{len(found)} quantities and {len(names)} optimizers are equal on {ranks.size} ranks", flush=True)


def library(_):
    """Sums in the library's order, of long and short vectors, have the same bits on all ranks."""
    import numpy as np
    from mpi4py import MPI

    import optim
    from optim import tuning

    ranks = optim.Ranks(MPI.COMM_WORLD)
    tuning.RANKS_IN_ORDER, tuning.SHORT_MESSAGE = 1, 0
    for dtype in (np.float32, np.float64):
        for size in (1, 2, 7, 1000):
            each = np.random.default_rng(0).standard_normal((ranks.size, size)).astype(dtype)
            total = each[ranks.rank].copy()
            ranks.exchange(lambda total=total: ([], [total]))
            np.testing.assert_allclose(total, each.sum(axis=0), rtol=0, atol=1e-5)
            bits = total.tobytes()
            assert len(set(ranks.gathered(lambda bits=bits: bits))) == 1
    if ranks.rank == 0:
        print(f"{ranks.size} ranks", flush=True)


def failing(arguments):
    """Steps, with a failure of one kind on one rank; "end" if the program goes on to its end."""
    import numpy as np
    from mpi4py import MPI

    import nn
    import optim

    kind, rank = arguments[0], int(arguments[1])
    ranks = optim.Ranks(MPI.COMM_WORLD)
    _ = optim.Ranks(MPI.COMM_WORLD)  # another one, in which nothing happens
    here = ranks.rank == rank

    class Bad(nn.SquaredError):
        seen = 0

        def value(self, z, t):
            Bad.seen += 1
            if here and kind == "sweep" and Bad.seen == 9:
                print("failure", time.time(), flush=True)
                raise ZeroDivisionError("in a sweep")
            return super().value(z, t)

    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(60, 20)), rng.normal(size=(60, 5))
    model = nn.models.mlp((20, 30, 5), rng=rng, dtype=np.float64)
    opt = optim.HessianFree(model, Bad(), ranks=ranks)
    for k in range(STEPS):
        if here and k == 3 and kind in KINDS:
            print("failure", time.time(), flush=True)
            if kind == "raise":
                raise KeyError("outside of a step")
            if kind == "exit":
                sys.exit(3)
            if kind == "hard exit":
                os._exit(3)
            if kind == "kill":
                os.kill(os.getpid(), 9)
            if kind == "interrupt":
                os.kill(os.getpid(), 2)
            if kind == "parameters":
                opt.model[0].weight = opt.model[0].weight * (1 + 1e-12)
            if kind == "stop":
                break
        opt.step(x, t)
    if kind == "slow end" and here:
        time.sleep(3)  # others have ended: nobody waits for this rank, nor does it for them
    print("end", ranks.rank, flush=True)


if __name__ == "__main__":
    {"equality": equality, "library": library, "failing": failing}[sys.argv[1]](sys.argv[2:])
