"""Batches in files, as h5py's and zarr's, and memory maps: read when a sweep comes to them, no more than it needs."""

import resource
import subprocess
import sys

import numpy as np
import pytest
from ranked import data, model, slice_of
from ranks_in_threads import together

import nn
import optim
from optim.problem.stored import Stored, in_memory, rows


class Filed:
    """An array in a file: read by slices, or by numbers in rising order, as h5py has it; notes what is read."""

    chunks = (5, 1)

    def __init__(self, a):
        self._a, self.shape, self.dtype, self.ndim, self.read = a, a.shape, a.dtype, a.ndim, []

    def __len__(self):
        return len(self._a)

    def __getitem__(self, which):
        if isinstance(which, slice):
            assert which.step in (None, 1)
            self.read.append(which.indices(len(self))[:2])
        else:
            assert (np.diff(which) > 0).all()
            self.read.append((int(which.min()), int(which.max()) + 1))
        return self._a[which]

    def __array__(self, *arguments, **keywords):
        raise AssertionError("all of it is read")


def h5py_file(a, path):
    h5py = pytest.importorskip("h5py")
    h5py.File(path / f"{len(a.shape)}.h5", "w").create_dataset("a", data=a, chunks=(7, *a.shape[1:]))
    return h5py.File(path / f"{len(a.shape)}.h5", "r")["a"]


def zarr_store(a, path):
    zarr = pytest.importorskip("zarr")
    made = zarr.create_array(str(path / f"{len(a.shape)}.zarr"), shape=a.shape, chunks=(7, *a.shape[1:]), dtype=a.dtype)
    made[...] = a
    return zarr.open_array(str(path / f"{len(a.shape)}.zarr"), mode="r")


def memory_map(a, path):
    np.save(path / f"{len(a.shape)}.npy", a)
    return np.load(path / f"{len(a.shape)}.npy", mmap_mode="r")


KINDS = {"stand-in": lambda a, path: Filed(a), "h5py": h5py_file, "zarr": zarr_store, "memory map": memory_map}


@pytest.fixture(params=KINDS)
def stored(request, tmp_path):
    x, t = data(26)
    t = np.argmax(t, axis=1)
    return (x, t), tuple(KINDS[request.param](a, tmp_path) for a in (x, t))


@pytest.mark.parametrize("options", [{}, {"shards": 3}, {"cases_in_memory": 4, "threads": 2}])
@pytest.mark.parametrize("loss", [nn.SoftmaxCrossEntropy(), lambda z, t: np.sum((z - np.eye(3)[t]) ** 2) / len(z)])
def test_an_objective_on_a_file_is_that_on_arrays(stored, options, loss):
    arrays, files = stored
    found = []
    for x, t in (arrays, files):
        objective = optim.Objective(model(), loss, **options)
        q, v = objective.quadratic(x, t), np.ones(objective.size)
        values = [objective.value(x, t), *objective.value_and_gradient(x, t), q.value, q.gradient]
        values += [q.ggn @ v, q.hessian @ v, q.squared_gradients()]
        found.append(np.concatenate([np.ravel(value) for value in values]))
    np.testing.assert_array_equal(found[1], found[0])


@pytest.mark.parametrize("name", ["HessianFree", "KFAC", "SGD", "fit", "roles"])
def test_optimizers_on_a_file(stored, name):
    arrays, files = stored
    found = []
    for x, t in (arrays, files):
        if name == "SGD":
            opt = optim.SGD(model(), nn.SoftmaxCrossEntropy(), lr=0.1)
        elif name in ("KFAC", "fit"):
            opt = optim.KFAC(model(), nn.SoftmaxCrossEntropy())
        else:
            small = optim.Automatic(little=0.0, few=0, sample=9, least=1)
            opt = optim.HessianFree(model(), nn.SoftmaxCrossEntropy(), automatic=small, cg_iterations=3)
        if name == "fit":
            opt.fit(x, t, batch=10, epochs=2, validation=0.2, stop=str)
        elif name == "roles":
            roles = optim.Roles(x, t, gradient=15, curvature=0.3, rng=np.random.default_rng(0))
            for k in range(3):
                opt.step(**roles(k))
        else:
            for _ in range(3):
                opt.step(x, t)
        found.append(opt.objective.flat())
    np.testing.assert_array_equal(found[1], found[0])


def test_chunks_are_read_in_order_and_no_more_than_is_needed():
    x, t = data(26)
    x, t = Filed(x), Filed(t)
    objective = optim.Objective(model(), nn.SquaredError(), cases_in_memory=4, threads=1)
    q = objective.quadratic(x, t)
    x.read.clear()
    q.ggn_product(np.ones(objective.size), np.empty(objective.size))
    assert x.read == t.read[-7:] == [(0, 4), (4, 8), (8, 12), (12, 16), (16, 20), (20, 23), (23, 26)]


def test_a_rank_reads_its_own_cases():
    x, t = data(26)

    def program(ranks):
        files = Filed(x), Filed(t)
        objective = optim.Objective(model(), nn.SquaredError(), cases_in_memory=4, ranks=ranks)
        value = objective.value(*files)
        own = slice_of(26, ranks)
        first = {(0, 4), (0, 1), (1, 4)}  # on which every rank finds that the cases come apart, and what they take
        of_this = [read for read in files[0].read if read not in first]
        assert min(start for start, _ in of_this) >= own.start - 4 * (ranks.rank == 0)
        assert max(stop for _, stop in of_this) == own.stop
        assert max(stop - start for start, stop in files[0].read) <= 4
        return value

    found = together(3, program)
    assert found == pytest.approx([optim.Objective(model(), nn.SquaredError()).value(x, t)] * 3, rel=1e-12)


def test_rows_of_rows():
    a = np.arange(60.0).reshape(20, 3)
    part = rows(Filed(a), slice(4, 15))
    assert (len(part), part.shape, part.ndim, part.dtype) == (11, (11, 3), 2, a.dtype)
    assert part.a.read == []
    for which in (slice(2, 5), slice(None), slice(-3, None), slice(None, None, 4), slice(9, 2, -3), slice(5, 5)):
        np.testing.assert_array_equal(in_memory(rows(part, which)), a[4:15][which])
        assert isinstance(rows(part, which), Stored) == (which.step is None)
    for which in ([3, 1, 1, -1], np.arange(11) % 2 == 0, np.array([], int), np.array([[0, 1], [1, 0]])):
        np.testing.assert_array_equal(rows(part, np.asarray(which)), a[4:15][which])
    with pytest.raises(IndexError, match="the 11 cases of a stored array have no number 11"):
        rows(part, np.array([11]))


PROGRAM = """
import resource, sys
import numpy as np
import nn, optim

n, file = int(sys.argv[1]), sys.argv[2]
x = np.memmap(file, dtype=np.float32, mode="r", shape=(n, 1000))
t = np.zeros(n, int)
opt = optim.HessianFree(
    nn.models.mlp((1000, 4, 3), rng=np.random.default_rng(0)), nn.SoftmaxCrossEntropy(),
    automatic=False, cg_iterations=2, preconditioner=False, cases_in_memory=1000,
)
opt.step(x[:2000], t[:2000])  # what is made once
used = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
allowed = used + x.nbytes // 10
resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
try:
    np.ones(x.nbytes // 8)
except MemoryError:
    print("the limit holds")
print(opt.step(x, t).loss)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_DATA") or sys.platform != "linux", reason="needs Linux's limits")
def test_a_data_set_of_ten_times_the_memory_allowed(tmp_path):
    n = 100_000
    with open(tmp_path / "x", "wb") as file:
        file.truncate(n * 4000)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(n), str(tmp_path / "x")], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    words, loss = done.stdout.splitlines()
    assert words == "the limit holds"
    assert float(loss) == pytest.approx(np.log(3), abs=1.0)
