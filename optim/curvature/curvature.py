"""All curvature matrices of a model and a loss over a data set, from one forward pass.

    ggn                 Jᵀ L″ J                                  curvature of the loss through the linearized model
    hessian             ∇²f                                      with the curvature of the model; indefinite
    fisher(samples=k)   Jᵀ E_k[u uᵀ] J,  u = ∂ℓ/∂z at targets drawn from the model; its expectation is the GGN
    empirical_fisher    the same at the targets of the data
    kfac, kflr, kfra    blockdiag(A_l ⊗ G_l) ≈ GGN
    ekfac               the same eigenvectors as kfac, eigenvalues by second moments

Source: Martens & Sutskever (2012), sections 4 to 7; Martens (2020), "New insights and perspectives on the natural
gradient method", sections 5 to 11; Kunstner, Balles & Hennig (2019) on what the empirical Fisher is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from optim import tuning
from optim.curvature.data import DataSet, Progress
from optim.curvature.layers import Layer, layers
from optim.curvature.operator import CurvatureOperator, Matrix
from optim.hyper import COUNT, OneOf, generator
from optim.parts.columns import all_columns, drawn_columns
from optim.parts.estimate import eigenvectors, kronecker_factors, with_moments
from optim.parts.factors import KroneckerFactors
from optim.parts.kronecker import KroneckerOperator
from optim.problem.quadratic import Quadratic
from optim.problem.ranks import Ranks
from optim.problem.shard import LinearizedShard
from optim.types import Loss, Model
from rmad.extend import Array, arrays, lazy

__all__ = ["Curvature"]

KRONECKER = ("kfac", "ekfac", "kflr", "kfra")
Columns = list[Array]  # k columns u, stacked: one array (k, *z.shape) per output


class Curvature:
    """Curvature of f(θ) = Σ_n ℓ(F_θ(x_n), t_n)/N over a data set, as operators on flat vectors of parameters.

    The parameters are those of the moment when it is made. The model runs once on every batch; all products, of all
    matrices but the Hessian (whose tape is that of the gradient), sweep over the tapes of that run, unless the tapes do
    not fit into memory. Results are the same from run to run. Put layers with masks or batch statistics into the state
    that is meant first, as a rule `model.eval()`.

    Parameters
    ----------
    model : Model
        A tree of float arrays of one dtype that can be called, model(x) → z.
    loss : Loss
        An object with value, gradient and hessian_product, or a function (z, t) → scalar, a mean over cases. A
        loss that is found to be no such mean takes one batch; one that says `mean_over_cases` is taken at its word.
    data : (x, t), or a list of them, or an iterable that can be read again and again
        The batches. t may be None. The data must be the same each time they are read.
    blocks : {"layer"}, default None
        "layer" makes every operator block-diagonal: a weight and its bias are a block, every other parameter is one of
        its own. A product then takes one for every block. None leaves them whole.
    cases_in_memory : int, default None
        The most cases whose activations are held at a time. If there are more, the data are worked through in parts,
        and the model runs again for every product (of all columns of a matrix together). None holds the data if their
        tapes take up less than four tenths of the memory of the machine or of the GPU.
    threads : int, default None
        Threads that work on the data; None is one per core.
    ranks : Ranks, default None
        The processes of an MPI job that share every batch; all of them make the same calls.
    rng : numpy.random.Generator, default None
        Draws the targets of `fisher`, `kfac` and parameters without a block; None has the seed 0.
    progress : callable, default None
        progress(what, done, total), called as work goes on: cases of a product, as ("ggn", 500, 1000), products of an
        estimate, as ("ggn.trace", 20, 100), and iterations of a solver, as ("ggn.inverse", 7, 1000).

    Raises
    ------
    TypeError
        If data can be read only once, or a batch is no pair (x, t); if model or loss lacks the required interface.
    ValueError
        If there are no cases, or a number is out of range.

    References
    ----------
    Martens & Sutskever (2012); Martens (2020); Kunstner, Balles & Hennig (2019).

    Examples
    --------
    >>> import nn, optim
    >>> model = nn.Linear(3, 2, rng=np.random.default_rng(0), dtype=np.float64)
    >>> x, t = np.eye(3), np.array([0, 1, 1])
    >>> C = optim.Curvature(model, nn.SoftmaxCrossEntropy(), [(x[:2], t[:2]), (x[2:], t[2:])])
    >>> C.ggn.shape, bool(np.allclose(C.ggn.dense(), C.hessian.dense()))  # the model is linear
    ((8, 8), True)
    >>> bool(np.isclose(C.ggn.trace(), np.trace(C.ggn.dense())))
    True
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        data: Any,
        *,
        blocks: str | None = None,
        cases_in_memory: int | None = None,
        threads: int | None = None,
        ranks: Ranks | None = None,
        rng: np.random.Generator | None = None,
        progress: Progress | None = None,
    ) -> None:
        if blocks is not None:
            OneOf(("layer",))("blocks", blocks)
        if progress is not None and not callable(progress):
            raise TypeError(f"progress must be a function (what, done, total), got {type(progress).__name__}")
        self._by_layer, self._progress = blocks == "layer", progress
        self._seed = int(generator(rng).integers(2**31))
        self.data = DataSet(model, loss, data, cases_in_memory, threads, ranks)
        self._factors: dict[str, KroneckerFactors] = {}

    def _report(self, what: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(what, done, total)

    # -- f and its gradient --------------------------------------------------------------------------------------

    @property
    def cases(self) -> int:
        """N, the number of cases."""
        return self.data.cases

    @property
    def theta(self) -> Array:
        """θ, (p,), the parameters that the matrices are taken at."""
        return self.data.theta.copy()

    @lazy
    def value(self) -> float:
        """f(θ), in float64."""
        return self._value_and_gradient[0]

    @property
    def gradient(self) -> Array:
        """∇f(θ), (p,), a copy."""
        return self._value_and_gradient[1].copy()

    @lazy
    def _value_and_gradient(self) -> tuple[float, Array]:
        value, gradient = 0.0, np.zeros_like(self.data.theta)
        for weight, q, _ in self.data.groups():
            gradient += gradient.dtype.type(weight) * q.gradient
            value += weight * q.value
        return value, gradient

    def along_gradients(self, v: Array) -> Array:
        """∇ℓ_nᵀ v for every case, (N,), by one push: ∂ℓ_n/∂z · J_n v. No gradient of a case is formed.

        Parameters
        ----------
        v : (p,) array
            A vector of parameters.

        Returns
        -------
        array, (N,)
            In the order of the data.

        Raises
        ------
        ValueError
            If the outputs have no row for every case.
        """
        found = arrays.zeros(v, (self.cases,), self.data.theta.dtype)
        done = 0
        for _, q, cases in self.data.groups():
            q.along_gradients(v, found)
            done += cases
            self._report("gradients", done, self.cases)
        return found

    # -- the matrices --------------------------------------------------------------------------------------------

    @lazy
    def layers(self) -> tuple[Layer, ...]:
        """The blocks of parameters that `blocks="layer"` means, with their names and their places in θ."""
        _, q, _ = next(iter(self.data.groups()))
        structure = self.data.objective._structure()
        return layers(q, self.data.objective._paths, [leaf.size for leaf in structure.leaves])

    def _operator(self, matrix: Matrix) -> CurvatureOperator:
        blocks = self.layers if self._by_layer else None
        return CurvatureOperator(self.data, matrix, blocks, self._kronecker, self._report)

    @property
    def ggn(self) -> CurvatureOperator:
        """G = Jᵀ L″ J, the generalized Gauss-Newton matrix; positive semi-definite for a convex loss."""
        return self._operator(Matrix("ggn", _ggn_product, _ggn_diagonal))

    @property
    def hessian(self) -> CurvatureOperator:
        """H = ∇²f."""
        return self._operator(Matrix("hessian", Quadratic.hessian_product))

    def fisher(self, samples: int = 1) -> CurvatureOperator:
        """F = Σ_n J_nᵀ (1/k Σ_s u_ns u_nsᵀ) J_n / N, u_ns = ∂ℓ/∂z_n at target s of k that are drawn from the model.

        Its expectation is the GGN for a likelihood of the exponential family. For a loss without `sample(z, rng)`, u is
        a sum of the columns of L″^½ with random signs instead, with the same expectation.

        Parameters
        ----------
        samples : int, default 1
            Targets for every case.

        Returns
        -------
        CurvatureOperator
        """
        COUNT("samples", samples)
        drawn = partial(_drawn, seed=self._seed, samples=samples)
        return self._operator(_sum_of_outer_products(f"fisher(samples={samples})", drawn))

    @property
    def empirical_fisher(self) -> CurvatureOperator:
        """F̂ = Σ_n ∇ℓ_n ∇ℓ_nᵀ / N, the second moment of the gradients of the cases; it is not the GGN."""
        return self._operator(_sum_of_outer_products("empirical_fisher", _gradients))

    @property
    def kfac(self) -> KroneckerOperator:
        """blockdiag(A_l ⊗ G_l) ≈ G with targets drawn from the model, and a diagonal for parameters without a block."""
        return self._kronecker("kfac")

    @property
    def ekfac(self) -> KroneckerOperator:
        """The eigenvectors of `kfac` with eigenvalues of their own, second moments over the cases (see `EKFAC`)."""
        return self._kronecker("ekfac")

    @property
    def kflr(self) -> KroneckerOperator:
        """The same with all columns of L″^½: nothing is drawn."""
        return self._kronecker("kflr")

    @property
    def kfra(self) -> KroneckerOperator:
        """The same with L″ averaged over the cases and passed back; of data in parts, the mean over the parts."""
        return self._kronecker("kfra")

    def _kronecker(self, kind: str) -> KroneckerOperator:
        OneOf(KRONECKER, quoted=False)("preconditioner", kind)
        if kind not in self._factors:
            self._factors[kind] = self._estimated(kind)
        return KroneckerOperator(self._factors[kind], run=self.data.objective.crew.run)

    def _estimated(self, kind: str) -> KroneckerFactors:
        """The factors, a mean over the groups."""
        if kind == "ekfac":
            return self._corrected()
        found: KroneckerFactors | None = None
        for q, share, done in self._shares():
            new = kronecker_factors(q, kind, seed=self._seed)
            found = new if found is None else new.mixed_with(found, 1 - share)
            self._report(kind, done, self.cases)
        return _finite(kind, found)

    def _corrected(self) -> KroneckerFactors:
        """KFAC's factors with second moments along their eigenvectors, from one more reading of the data."""
        factors = self._kronecker("kfac").factors
        bases = eigenvectors(factors, self.data.objective.crew.run)
        found: KroneckerFactors | None = None
        for q, share, done in self._shares():
            new = with_moments(factors, bases, q, "kfac", self._seed)
            found = new if found is None else new.moments_mixed_with(found, 1 - share)
            self._report("ekfac", done, self.cases)
        return _finite("ekfac", found)

    def _shares(self) -> Iterator[tuple[Quadratic, float, int]]:
        """The groups, the share of each among the cases so far, and the number of these."""
        done = 0
        for _, q, cases in self.data.groups():
            done += cases
            yield q, cases / done, done


def _finite(kind: str, factors: KroneckerFactors | None) -> KroneckerFactors:
    assert factors is not None  # there are cases
    if not factors.is_finite():
        raise ValueError(f"{kind}: the factors are not finite")
    return factors


def _ggn_product(q: Quadratic, v: Array, out: Array) -> None:
    q.ggn_product(v, out, in_place=False)


def _at_a_time(shard: LinearizedShard) -> int:
    return max(1, tuning.PULLED_TOGETHER // max(1, *(node.spec.size for node in shard.tape.nodes)))


def _ggn_diagonal(q: Quadratic) -> Array:
    """diag(G) = Σ_n Σ_c (J_nᵀ S_nc)², S_n the columns of L″^½."""
    return q.squared_columns(lambda shard: all_columns(shard, _at_a_time(shard)), "diag(G)")


def _drawn(shard: LinearizedShard, seed: int, samples: int) -> Columns:
    stacks = list(drawn_columns(shard, seed, samples, _at_a_time(shard)))
    return [np.concatenate(same) for same in zip(*stacks, strict=True)]


def _gradients(shard: LinearizedShard) -> Columns:
    (columns,) = shard.per_case_gradients()
    return [u[None] for u in columns]


def _sum_of_outer_products(name: str, columns: Callable[[LinearizedShard], Columns]) -> Matrix:
    """Σ_n J_nᵀ (Σ_k u_nk u_nkᵀ) J_n, for stacks of u that a function gives for every shard; they are found once."""
    known: WeakKeyDictionary[Quadratic, dict[int, Columns]] = WeakKeyDictionary()

    def product(q: Quadratic, v: Array, out: Array) -> None:
        if q not in known:
            known[q] = dict(q.each_shard(lambda shard: (shard.first, columns(shard))))
        found = known[q]
        q.product_between(lambda shard: partial(_between, found[shard.first], shard.n), v, out)

    def diagonal(q: Quadratic) -> Array:
        return q.squared_columns(lambda shard: iter([columns(shard)]), f"the diagonal of {name}")

    return Matrix(name, product, diagonal)


def _between(columns: Columns, n: int, v: list[Array]) -> list[Array]:
    """Σ_k u_nk (u_nkᵀ v_n) for every case n; outputs without rows per case are one case."""
    rows = n if all(a.ndim and len(a) == n for a in v) else 1
    stacks = [np.reshape(u, (len(u), rows, -1)) for u in columns]
    vectors = [np.reshape(a, (rows, -1)) for a in v]
    inner = sum(np.real(np.einsum("knm,nm->kn", np.conj(u), a)) for u, a in zip(stacks, vectors, strict=True))
    return [np.reshape(np.einsum("kn,knm->nm", inner, u), a.shape) for u, a in zip(stacks, v, strict=True)]
