"""One curvature matrix of a data set as a LinearOperator, with its inverse and with estimates of its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh, lobpcg

from optim.curvature import estimates
from optim.curvature.data import DataSet, Progress
from optim.curvature.estimates import Estimate
from optim.curvature.inverse import Inverse, settings
from optim.curvature.layers import Layer
from optim.hyper import COUNT, Number, OneOf, Rule, checked, generator
from optim.parts.cg import InverseP
from optim.problem.quadratic import Quadratic
from optim.problem.vectors import is_finite
from optim.spectrum import Spectrum, spectral_density
from rmad.extend import Array, SymmetricOperator, Traced, arrays

__all__ = ["CurvatureOperator", "Matrix"]

COLUMNS = 64  # of the identity that are multiplied at a time
WHICH = ("LA", "SA", "LM")
LOGDET: dict[str, Rule] = {"damping": Number(at_least=0.0), "method": OneOf(("lanczos", "exact"))}
EIGSH: dict[str, Rule] = {"k": COUNT, "which": OneOf(WHICH, quoted=False), "rtol": Number(at_least=0.0)}


@dataclass(frozen=True)
class Matrix:
    """A sum over cases: its name, product(q, v, out) and diagonal(q), (p,), on some of them.

    diagonal is None if it takes as many products as there are parameters.
    """

    name: str
    product: Callable[[Quadratic, Array, Array], None]
    diagonal: Callable[[Quadratic], Array] | None = None


class CurvatureOperator(SymmetricOperator):
    """A, (p, p): a curvature matrix averaged over the cases of a data set; symmetric, of the parameters' dtype.

    `optim.Curvature` makes it. Products with the columns of a matrix, `A @ V`, read the data once. Random vectors come
    from `rng`; None has the seed 0, so that results are the same from run to run.

    Parameters
    ----------
    data : DataSet
        The cases.
    matrix : Matrix
        The matrix on some of the cases.
    layers : tuple of Layer or None
        The blocks of a block-diagonal matrix; None for the whole matrix.
    preconditioner : callable
        preconditioner(kind, damping) → P⁻¹ for a kind such as "kfac", and kroneckers(kind) → the operator of it.
    report : callable
        report(what, done, total), as work goes on.
    """

    def __init__(
        self,
        data: DataSet,
        matrix: Matrix,
        layers: tuple[Layer, ...] | None,
        kroneckers: Callable[[str], Any],
        report: Progress,
    ) -> None:
        self._data, self._matrix, self._layers = data, matrix, layers
        self._kroneckers, self._report = kroneckers, report
        super().__init__(data.theta)

    @property
    def name(self) -> str:
        """The name of the matrix."""
        return self._matrix.name

    # -- products --------------------------------------------------------------------------------------------------

    def _apply(self, v: Array) -> Array:
        return self._multiplied(v[:, None])[:, 0]

    def _dot(self, v: Array) -> Array:
        if isinstance(v, Traced) or v.ndim == 1 or v.dtype.kind == "c":
            return SymmetricOperator._dot(self, v)
        return self._multiplied(v.astype(self.dtype, copy=False))

    def _multiplied(self, V: Array) -> Array:
        """A V; with blocks every block takes a product of its own."""
        if self._layers is None:
            return self._whole(V)
        out = np.zeros_like(V)
        for layer in self._layers:
            alone = np.zeros_like(V)
            layer.copy(V, alone)
            layer.copy(self._whole(alone), out)
        return out

    def _whole(self, V: Array) -> Array:
        """Σ over the groups of the data, each of which is read once for all columns."""
        p, k = V.shape
        total = arrays.zeros(self._data.theta, (k, p))
        columns = arrays.contiguous(V.T)
        done = 0
        for weight, q, cases in self._data.groups():
            out = None if weight == 1 else np.empty_like(self._data.theta)
            for column, sum_of in zip(columns, total, strict=True):
                self._matrix.product(q, column, sum_of if out is None else out)
                if out is not None:
                    out *= out.dtype.type(weight)
                    sum_of += out
            done += cases
            self._report(self.name, done, self._data.cases)
        return total.T

    def blocks(self) -> dict[str, LinearOperator]:
        """The diagonal blocks by name, (p_l, p_l) each, of an operator that was made with blocks="layer".

        Raises
        ------
        ValueError
            If the operator is not of blocks.
        """
        if self._layers is None:
            raise ValueError(f'{self.name} is one matrix: Curvature(…, blocks="layer") makes blocks')
        return {layer.name: self._block(layer) for layer in self._layers}

    def _block(self, layer: Layer) -> LinearOperator:
        whole, theta = self._whole, self._data.theta

        def product(v: Array) -> Array:
            full, found, first = np.zeros_like(theta), np.empty_like(v), 0
            for a, b in layer.parts:
                full[a:b] = v[first : first + b - a]
                first += b - a
            product, first = whole(full[:, None])[:, 0], 0
            for a, b in layer.parts:
                found[first : first + b - a] = product[a:b]
                first += b - a
            return found

        return SymmetricOperator(arrays.empty(theta, (layer.size,)), product)

    def dense(self) -> Array:
        """The matrix itself, (p, p), by p products."""
        return self._multiplied(arrays.eye(self._data.theta, self.shape[0], dtype=self.dtype))

    # -- its inverse -----------------------------------------------------------------------------------------------

    def inverse(
        self,
        damping: float = 0.0,
        method: str = "cg",
        *,
        preconditioner: Any = "auto",
        rtol: float = 1e-5,
        iterations: int = 1000,
    ) -> LinearOperator:
        """(A + λI)⁻¹ as an operator: every product with it is a run of a solver, or one with inverted factors.

        Parameters
        ----------
        damping : float, default 0.0
            λ ≥ 0.
        method : {"cg", "minres", "lsmr", "kfac", "ekfac"}, default "cg"
            "cg" needs a positive definite A + λI; "minres" takes an indefinite one, "lsmr" (which takes no
            preconditioner, and two products an iteration) a singular one too. "kfac" and "ekfac" invert the
            factors in place of A.
        preconditioner : {"auto", "kfac", "ekfac", "kflr", "kfra"}, operator, (p,) array or None, default "auto"
            P⁻¹ ≈ (A + λI)⁻¹ for "cg" and "minres": by Kronecker factors with λ added; an operator that multiplies by
            P⁻¹, or its diagonal. "auto" is "kfac", or None where the loss or the model gives no factors. With factors
            and λ = 0 a thousandth of their mean eigenvalue is added.
        rtol : float, default 1e-5
            The solver ends at a residual of rtol ‖b‖.
        iterations : int, default 1000
            The most iterations; a NumericalWarning tells if they did not do.

        Returns
        -------
        LinearOperator
            With `iterations` and `residual` of the last product if a solver runs.

        Raises
        ------
        numpy.linalg.LinAlgError
            From a product by "cg", if A + λI is indefinite.
        ValueError
            If an argument is out of range, or a product is not finite.
        """
        given = settings(damping=damping, method=method, rtol=rtol, iterations=iterations)
        if method in ("kfac", "ekfac"):
            return self._kroneckers(method).inverse(damping)
        inverse_P = None if method == "lsmr" else self._inverse_P(preconditioner, damping)
        report = partial(self._reported, f"{self.name}.inverse", given["iterations"])
        return Inverse(self, self.name, self._data.theta, damping, method, rtol, given["iterations"], inverse_P, report)

    def _inverse_P(self, preconditioner: Any, damping: float) -> InverseP:
        if preconditioner is None or hasattr(preconditioner, "apply"):
            return preconditioner
        if isinstance(preconditioner, str):
            try:
                C = self._kroneckers("kfac" if preconditioner == "auto" else preconditioner)
            except (TypeError, ValueError, NotImplementedError):
                if preconditioner == "auto":
                    return None
                raise
            if not damping:
                damping = 1e-3 * float(C.trace()) / self.shape[0]
            return C.solver(damping)
        if hasattr(preconditioner, "matvec"):
            return _Applied(preconditioner)
        return preconditioner

    def _reported(self, what: str, total: int, done: int) -> None:
        self._report(what, done, total)

    # -- estimates of its numbers ----------------------------------------------------------------------------------

    def trace(
        self, method: str | None = None, products: int = 100, *, rng: np.random.Generator | None = None
    ) -> Estimate:
        """tr A, with its standard error.

        Parameters
        ----------
        method : {"xtrace", "hutch++", "hutchinson", "exact"}, default None
            The estimator, or "exact": by stacked pulls where the matrix has them, else by p products. None is
            "xtrace".
        products : int, default 100
            Products with A; from p on the trace is exact.
        rng : numpy.random.Generator, default None
            Draws the vectors; None has the seed 0.

        Returns
        -------
        Estimate
            A float with `error` and `products`.

        References
        ----------
        Epperly, Tropp & Webber (2024), section 2; Meyer, Musco, Musco & Woodruff (2021); Hutchinson (1990).
        """
        if method == "exact":
            d, taken = self._exact_diagonal()
            return Estimate(float(np.sum(d, dtype=np.float64)), 0.0, taken)
        return self._estimated(estimates.trace, estimates.TRACES, method or "xtrace", products, rng, "trace")

    def norm(
        self, method: str | None = None, products: int = 100, *, rng: np.random.Generator | None = None
    ) -> Estimate:
        """‖A‖_F, the Frobenius norm, with its standard error; the arguments are those of `trace`.

        Parameters
        ----------
        method : {"hutch++", "hutchinson", "exact"}, default None
            The estimator; "exact" takes p products. None is "hutch++".
        products : int, default 100
            Products with A; from p on the norm is exact.
        rng : numpy.random.Generator, default None
            Draws the vectors; None has the seed 0.

        Returns
        -------
        Estimate
            A float with `error` and `products`.
        """
        exact = method == "exact"
        k = self.shape[0] if exact else products
        return self._estimated(
            estimates.norm, estimates.NORMS, "hutch++" if exact or method is None else method, k, rng, "norm"
        )

    def diagonal(
        self,
        method: str | None = None,
        products: int = 100,
        *,
        rng: np.random.Generator | None = None,
        return_error: bool = False,
    ) -> Any:
        """diag A, (p,), and on request the standard error of every entry.

        Parameters
        ----------
        method : {"exact", "xdiag", "hutchinson"}, default None
            "exact" takes one pull for every output of a case (a Hessian: p products). None is "exact" for matrices
            that have it by pulls, else "xdiag".
        products : int, default 100
            Products with A of an estimate; from p on it is exact.
        rng : numpy.random.Generator, default None
            Draws the vectors; None has the seed 0.
        return_error : bool, default False
            Also return the standard errors, (p,).

        Returns
        -------
        array, or a pair of arrays

        References
        ----------
        Epperly, Tropp & Webber (2024), section 3.
        """
        if method is None:
            method = "xdiag" if self._matrix.diagonal is None else "exact"
        if method == "exact":
            d = self._exact_diagonal()[0]
            return (d, np.zeros_like(d)) if return_error else d
        found = self._estimated(estimates.diagonal, estimates.DIAGONALS, method, products, rng, "diagonal")
        return found if return_error else found[0]

    def _estimated(self, estimate: Any, methods: Any, method: str, products: int, rng: Any, what: str) -> Any:
        OneOf((*methods, "exact"), quoted=False)("method", method)
        p = self.shape[0]
        least = methods[method][1]
        k = Number(at_least=min(least, p), whole=True)("products", products)
        total, done = min(k, p), 0

        def A(V: Array) -> Array:
            nonlocal done
            found = self._multiplied(V)
            if not is_finite(np.reshape(found.T, -1)):
                raise ValueError(f"{self.name}.{what}: a product is not finite")
            done += V.shape[1]
            self._report(f"{self.name}.{what}", done, total)
            return found

        return estimate(A, p, method, k, generator(rng), self._data.theta)

    def _exact_diagonal(self) -> tuple[Array, int]:
        """diag A, and the products it took."""
        p = self.shape[0]
        d = np.zeros_like(self._data.theta)
        if self._matrix.diagonal is not None:
            for weight, q, _ in self._data.groups():
                d += d.dtype.type(weight) * self._matrix.diagonal(q)
            return d, 0
        for first in range(0, p, COLUMNS):
            last = min(first + COLUMNS, p)
            E = arrays.zeros(d, (p, last - first))
            E[first:last] = arrays.eye(d, last - first, dtype=d.dtype)
            d[first:last] = np.diag(self._multiplied(E)[first:last])
            self._report(f"{self.name}.diagonal", last, p)
        return d, p

    def spectral_density(self, *, probes: int = 8, steps: int = 60, rng: np.random.Generator | None = None) -> Spectrum:
        """The density of the eigenvalues by stochastic Lanczos quadrature, with standard errors.

        Parameters
        ----------
        probes : int, default 8
            Random vectors, ≥ 2; errors fall with the square root of their number.
        steps : int, default 60
            Products for each.
        rng : numpy.random.Generator, default None
            Draws the vectors; None has the seed 0.

        Returns
        -------
        Spectrum
            `density(x, width)`, `count(low, high)`, `below(x, width)` and `trace_of(h)`, pairs of a mean and its
            error, as `optim.spectral_density` returns it.
        """
        return spectral_density(self, rng=generator(rng), probes=probes, steps=steps)

    def logdet(
        self,
        damping: float = 0.0,
        method: str = "lanczos",
        *,
        probes: int = 8,
        steps: int = 60,
        rng: np.random.Generator | None = None,
    ) -> Estimate:
        """log det (A + λI), with its standard error.

        Parameters
        ----------
        damping : float, default 0.0
            λ ≥ 0.
        method : {"lanczos", "exact"}, default "lanczos"
            Stochastic Lanczos quadrature, or a factorization of the dense matrix, which takes p products.
        probes : int, default 8
            Random vectors, ≥ 2.
        steps : int, default 60
            Products for each.
        rng : numpy.random.Generator, default None
            Draws the vectors; None has the seed 0.

        Returns
        -------
        Estimate
            A float with `error` and `products`.

        Raises
        ------
        ValueError
            If A + λI is found not to be positive definite.

        References
        ----------
        Ubaru, Chen & Saad (2017).
        """
        checked(LOGDET, {"damping": damping, "method": method})
        if method == "exact":
            values = np.linalg.eigvalsh(arrays.on_the_cpu(self.dense()).astype(np.float64))
            self._check_positive(float(values[0]) + damping, damping)
            return Estimate(float(np.sum(np.log(values + damping))), 0.0, self.shape[0])
        found = self.spectral_density(probes=probes, steps=steps, rng=rng)
        used = found.weights > 0
        self._check_positive(float(np.min(found.nodes[used])) + damping, damping)
        mean, error = found.trace_of(lambda x: np.log(np.where(used, x, 1.0) + damping))
        return Estimate(mean, error, probes * min(steps, self.shape[0]))

    def _check_positive(self, smallest: float, damping: float) -> None:
        if smallest <= 0:
            raise ValueError(
                f"{self.name}.logdet: the matrix + {damping:g} I is not positive definite, it has an eigenvalue near "
                f"{smallest:.3g}: raise damping"
            )

    def eigsh(
        self,
        k: int = 6,
        which: str = "LA",
        *,
        preconditioner: Any = None,
        rtol: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> tuple[Array, Array]:
        """k eigenvalues, ascending, (k,), and their eigenvectors, (p, k).

        Parameters
        ----------
        k : int, default 6
            Their number, < p.
        which : {"LA", "SA", "LM"}, default "LA"
            The largest, the smallest, or those largest in modulus.
        preconditioner : {"kfac", "ekfac", "kflr", "kfra"}, operator or None, default None
            None runs Lanczos' method with restarts (ARPACK). Factors, or an operator that multiplies by P⁻¹ ≈ A⁻¹, run
            LOBPCG, from the eigenvectors of the factors ("LA") or with them as preconditioner ("SA").
        rtol : float, default 0.0
            Relative accuracy; 0 is that of the dtype.
        rng : numpy.random.Generator, default None
            Draws the start; None has the seed 0.

        Returns
        -------
        eigenvalues, eigenvectors : arrays

        Raises
        ------
        ValueError
            If an argument is out of range.

        References
        ----------
        Lehoucq, Sorensen & Yang (1998), ARPACK; Knyazev (2001), LOBPCG.
        """
        given = checked(EIGSH, {"k": k, "which": which, "rtol": rtol})
        p, rng = self.shape[0], generator(rng)
        if given["k"] >= p:
            raise ValueError(f"k must be below the {p} parameters, got {k}; dense() has all eigenvalues")
        like = self._data.theta
        host = self if isinstance(like, np.ndarray) else _OnTheCPU(self, like).operator()
        if preconditioner is None:
            start = rng.standard_normal(p).astype(self.dtype)
            values, vectors = eigsh(host, k=given["k"], which=which, v0=start, tol=rtol)
            order = np.argsort(values)
            values, vectors = values[order], vectors[:, order]
        else:
            values, vectors = self._lobpcg(host, given["k"], which, preconditioner, rtol, rng)
        return arrays.moved_to(like, values, self.dtype), arrays.moved_to(like, vectors, self.dtype)

    def _lobpcg(self, host: Any, k: int, which: str, preconditioner: Any, rtol: float, rng: Any) -> Any:
        if which == "LM":
            raise ValueError('eigsh: a preconditioner helps with the ends of the spectrum, which="LA" or "SA"')
        p, like = self.shape[0], self._data.theta
        if 5 * k >= p:
            raise ValueError(f"eigsh: LOBPCG needs 5 k < p = {p}; leave the preconditioner out")
        start, M = rng.standard_normal((p, k)), None
        C = self._kroneckers(preconditioner) if isinstance(preconditioner, str) else None
        if which == "LA" and C is not None:
            start = arrays.on_the_cpu(C.eigsh(k)[1]) + 1e-3 * start / p**0.5
        elif which == "SA":
            P = preconditioner if C is None else C.inverse(1e-3 * float(C.trace()) / p)
            M = P if isinstance(like, np.ndarray) else _OnTheCPU(P, like).operator()
        tol = rtol or float(np.finfo(self.dtype).eps) ** 0.5
        scale = max(abs(float(x)) for x in np.linalg.norm(host @ start.astype(self.dtype), axis=0))
        values, vectors = lobpcg(
            host, start.astype(self.dtype), M=M, tol=tol * scale, maxiter=500, largest=which == "LA"
        )
        order = np.argsort(values)
        return values[order], vectors[:, order]


class _Applied:
    """An operator as `optim.pcg` takes P⁻¹."""

    def __init__(self, P: Any) -> None:
        self._P = P

    def apply(self, r: Array, out: Array) -> None:
        out[...] = self._P.matvec(r)


class _OnTheCPU:
    """An operator on a device for vectors on the CPU, for solvers that are on the CPU only."""

    def __init__(self, A: Any, like: Array) -> None:
        self._A, self._like = A, like

    def _times(self, v: Any) -> Any:
        return arrays.on_the_cpu(self._A @ arrays.moved_to(self._like, np.asarray(v, self._like.dtype)))

    def operator(self) -> LinearOperator:
        """It, as SciPy's."""
        return LinearOperator(self._A.shape, matvec=self._times, matmat=self._times, dtype=self._like.dtype)
