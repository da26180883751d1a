"""The Laplace approximation: a Gaussian posterior over the parameters of a trained model, from its curvature.

    p(θ | D) ≈ N(θ*, P⁻¹),  P = N/σ² G(θ*) + τI                   G the mean GGN, N the cases, τ the prior precision
    log Z ≈ log p(D | θ*) − ½ [τ‖θ*‖² − p log τ + log det P]
    z(x) ~ N(F(x, θ*), J P⁻¹ Jᵀ)                                        the model linearized at θ*

Source: MacKay (1992); Ritter, Botev & Barber (2018) for Kronecker factors; Khan et al. (2019) and Immer, Korzepa &
Bauer (2021) for the linearized predictive; Daxberger et al. (2021), "Laplace Redux".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator

import rmad
from optim.curvature.curvature import Curvature
from optim.curvature.data import Progress
from optim.curvature.layers import Layer
from optim.hyper import COUNT, NONE, Number, OneOf, Rule, checked, generator
from optim.parts.kronecker import eigh
from optim.problem.batch import cases as cases_of
from optim.problem.batch import take
from optim.problem.ranks import Ranks
from optim.problem.vectors import dot
from optim.types import Loss, Model
from rmad.extend import Array, SymmetricOperator, Traced, arrays, lazy

__all__ = ["Laplace"]

STRUCTURES = ("full", "kron", "diag", "last-layer")
KRONECKER = ("kflr", "kfac", "ekfac", "kfra")
DENSE_UP_TO = 20_000  # parameters of a dense posterior: 3.2 GB
NUMBERS = 1 << 24  # of a Jacobian that is formed at a time
CASES = 32  # of a Jacobian that is formed at a time: each of its rows is a sweep over all of them
HYPER: dict[str, Rule] = {
    "structure": OneOf(STRUCTURES, quoted=False),
    "prior_precision": Number(above=0.0),
    "noise": Number(above=0.0) | NONE,
    "estimate": OneOf(KRONECKER, quoted=False),
}


class Spectral(Protocol):
    """A positive semi-definite matrix by its eigenvalues: C, the mean curvature."""

    def eigenvalues(self) -> Array:
        """The eigenvalues, (m,)."""

    def function(self, h: Callable[[Array], Array]) -> LinearOperator:
        """h(C), (p, p)."""


class Dense:
    """A symmetric matrix on some of the parameters; zero on the others, and so is every function of it.

    Parameters
    ----------
    A : (m, m) array
        The matrix.
    parts : tuple of (first, last)
        The places of its m parameters in the flat vector.
    like : (p,) array
        The flat vector.
    """

    def __init__(self, A: Array, parts: tuple[tuple[int, int], ...], like: Array) -> None:
        self._values, self._V = eigh((A + A.T).astype(np.float64) / 2)
        self._parts, self._like = parts, like

    def eigenvalues(self) -> Array:
        """The eigenvalues, (m,)."""
        return self._values

    def function(self, h: Callable[[Array], Array]) -> LinearOperator:
        """h(A) on its parameters, zero on the others."""
        return _OfDense(self._like, self._V, h(self._values), self._parts)


class _OfDense(SymmetricOperator):
    """V diag(λ) Vᵀ on some of the parameters, zero on the others; the columns of a matrix in one product."""

    def __init__(self, like: Array, V: Array, values: Array, parts: tuple[tuple[int, int], ...]) -> None:
        self._V, self._values, self._parts = V, values, parts
        super().__init__(like)

    def _dot(self, v: Array) -> Array:
        if isinstance(v, Traced) or v.dtype.kind == "c":
            return SymmetricOperator._dot(self, v)
        return self._apply(v).astype(self.dtype, copy=False)

    def _apply(self, v: Array) -> Array:
        own = np.concatenate([v[a:b] for a, b in self._parts]).astype(np.float64)
        inner = self._V.T @ own
        found = self._V @ (inner * (self._values if v.ndim == 1 else self._values[:, None]))
        out, first = arrays.zeros(v, v.shape), 0
        for a, b in self._parts:
            out[a:b] = found[first : first + b - a]
            first += b - a
        return out


class Diagonal:
    """diag(d), (p, p)."""

    def __init__(self, d: Array) -> None:
        self._d = np.maximum(d, 0)

    def eigenvalues(self) -> Array:
        """d."""
        return self._d

    def function(self, h: Callable[[Array], Array]) -> LinearOperator:
        """diag(h(d))."""
        d = h(self._d)
        return SymmetricOperator(self._d, lambda v: d * v)


class Laplace:
    """p(θ | D) ≈ N(θ*, P⁻¹), P = N/σ² C + τI, C the curvature of the loss at the parameters of a trained model.

    The loss is the negative log-likelihood of a case: a cross-entropy as it is, or ½‖z − t‖² over σ² for Gaussian
    noise. A model that was trained with l2 has its maximum at the prior precision τ = N · l2 / σ².

    Parameters
    ----------
    model, loss, data
        As for `Curvature`; the model trained.
    structure : {"full", "kron", "diag", "last-layer"}, default "kron"
        C: the whole GGN (p products, p² numbers), Kronecker factors, the diagonal of the GGN, or the GGN of the last
        layer, the others fixed.
    prior_precision : float, default 1.0
        τ > 0; `tuned()` finds the one of largest evidence.
    noise : float, default None
        σ, the standard deviation of Gaussian noise, for a loss ½‖z − t‖²; None for a loss that is a negative
        log-likelihood itself.
    estimate : {"kflr", "kfac", "ekfac", "kfra"}, default "kflr"
        How Kronecker factors are found.
    layer : str, default None
        The layer of "last-layer", by its name in `Curvature.layers`; None is the last one.
    cases_in_memory, threads, ranks, rng, progress
        As for `Curvature`.

    Raises
    ------
    ValueError
        If an argument is out of range, a dense matrix would be too large, or there is no such layer.

    References
    ----------
    MacKay (1992); Ritter, Botev & Barber (2018); Immer, Korzepa & Bauer (2021); Daxberger et al. (2021).

    Examples
    --------
    >>> import nn, optim
    >>> rng = np.random.default_rng(0)
    >>> x = np.linspace(-1, 1, 30)[:, None]
    >>> model = nn.Sequential(nn.Linear(1, 8, rng=rng, dtype=np.float64), nn.Tanh(), nn.Linear(8, 1, rng=rng))
    >>> model = rmad.map_leaves(lambda a: a.astype(np.float64), model)
    >>> opt, t = optim.LevenbergMarquardt(model, nn.SquaredError(), l2=1e-3), np.sin(3 * x)
    >>> for _ in range(20):
    ...     _ = opt.step(x, t)
    >>> posterior = optim.Laplace(model, nn.SquaredError(), (x, t), "full", noise=0.1).tuned()
    >>> z, covariance = posterior.linearized(np.array([[0.0], [3.0]]))
    >>> bool(covariance[1, 0, 0] > 10 * covariance[0, 0, 0])  # far from the data it knows less
    True
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        data: Any,
        structure: str = "kron",
        *,
        prior_precision: float = 1.0,
        noise: float | None = None,
        estimate: str = "kflr",
        layer: str | None = None,
        cases_in_memory: int | None = None,
        threads: int | None = None,
        ranks: Ranks | None = None,
        rng: np.random.Generator | None = None,
        progress: Progress | None = None,
    ) -> None:
        given = {"structure": structure, "prior_precision": prior_precision, "noise": noise, "estimate": estimate}
        checked(HYPER, given)
        if layer is not None and structure != "last-layer":
            raise ValueError(f'layer: only for structure="last-layer", not "{structure}"')
        self.structure, self.estimate = structure, estimate
        self.prior_precision, self.noise = float(prior_precision), None if noise is None else float(noise)
        self.curvature = Curvature(
            model,
            loss,
            data,
            cases_in_memory=cases_in_memory,
            threads=threads,
            ranks=ranks,
            rng=rng,
            progress=progress,
        )
        self.mean = self.curvature.theta
        self._parts: tuple[tuple[int, int], ...] = ((0, self.mean.size),)
        if structure == "last-layer":
            self._parts = _chosen(self.curvature.layers, layer).parts
        self.size = sum(b - a for a, b in self._parts)
        if structure in ("full", "last-layer") and self.size > DENSE_UP_TO:
            raise ValueError(
                f'structure="{structure}" keeps a dense matrix of {self.size:,} × {self.size:,} numbers, and more than '
                f'{DENSE_UP_TO:,} rows are refused; take structure="kron" or "diag"'
            )

    @lazy
    def matrix(self) -> Spectral:
        """C, the mean curvature that the posterior is made of, with its eigenvalues."""
        C = self.curvature
        if self.structure == "kron":
            return getattr(C, self.estimate)  # type: ignore[no-any-return]
        if self.structure == "diag":
            return Diagonal(C.ggn.diagonal("exact"))
        if self.structure == "full":
            return Dense(C.ggn.dense(), self._parts, self.mean)
        E, first = arrays.zeros(self.mean, (self.mean.size, self.size)), 0
        for a, b in self._parts:
            E[a:b, first : first + b - a] = arrays.eye(self.mean, b - a, dtype=self.mean.dtype)
            first += b - a
        columns = C.ggn @ E
        return Dense(np.concatenate([columns[a:b] for a, b in self._parts]), self._parts, self.mean)

    # -- the posterior ------------------------------------------------------------------------------------------

    def _scale(self, noise: Any) -> Any:
        """N/σ², the factor of the mean loss and of its curvature."""
        return self.curvature.cases if noise is None else self.curvature.cases / noise**2

    def _function(self, power: float) -> LinearOperator:
        scale, tau = self._scale(self.noise), self.prior_precision
        return self.matrix.function(lambda x: ((x * x.dtype.type(scale)) + x.dtype.type(tau)) ** x.dtype.type(power))

    @property
    def precision(self) -> LinearOperator:
        """P = N/σ² C + τI, (p, p); zero on parameters that are fixed."""
        return self._function(1.0)

    @property
    def covariance(self) -> LinearOperator:
        """P⁻¹, (p, p); zero on parameters that are fixed."""
        return self._function(-1.0)

    def sample(self, n: int, *, rng: np.random.Generator | None = None) -> Array:
        """Parameters θ* + P^-½ ε that are drawn from the posterior, (n, p).

        Parameters
        ----------
        n : int
            Their number.
        rng : numpy.random.Generator, default None
            Draws ε; None has the seed 0.

        Returns
        -------
        array, (n, p)
        """
        return self.mean + self._deviations(COUNT("n", n), generator(rng))

    def _deviations(self, n: int, rng: np.random.Generator) -> Array:
        root = self._function(-0.5)
        drawn = arrays.moved_to(self.mean, rng.standard_normal((n, self.mean.size)), self.mean.dtype)
        return (root @ drawn.T).T

    # -- the evidence -------------------------------------------------------------------------------------------

    def log_likelihood(self, noise: Any = None) -> Any:
        """log p(D | θ*) = −N/σ² f(θ*), less N K log(2πσ²)/2 for Gaussian noise on K outputs.

        Parameters
        ----------
        noise : float, default None
            σ; None is `self.noise`. May be traced.

        Returns
        -------
        float
        """
        sigma = self.noise if noise is None else noise
        fit = -self._scale(sigma) * self.curvature.value
        if sigma is None:
            return fit
        return fit - self.curvature.cases * self._outputs * (np.log(sigma) + math.log(2 * math.pi) / 2)

    @lazy
    def _outputs(self) -> int:
        """K, the outputs of a case."""
        _, q, _ = next(iter(self.curvature.data.groups()))
        sizes = q.each_shard(lambda shard: sum(a.size for a in shard.arrays()) // shard.n)
        return int(sizes[0])

    @lazy
    def _squared_norm(self) -> float:
        return sum(dot(self.mean[a:b], self.mean[a:b]) for a, b in self._parts)

    @lazy
    def _eigenvalues(self) -> Array:
        """Those of C, float64 on the CPU, for functions that are differentiated."""
        return np.maximum(arrays.on_the_cpu(self.matrix.eigenvalues()).astype(np.float64), 0)

    def log_marginal_likelihood(self, prior_precision: Any = None, noise: Any = None) -> Any:
        """log Z ≈ log p(D | θ*) − ½ [τ‖θ*‖² − p log τ + log det P], the evidence for τ and σ.

        Plain NumPy in both arguments, so that `rmad.grad(posterior.log_marginal_likelihood)(τ)` is its derivative; the
        eigenvalues of C are found once.

        Parameters
        ----------
        prior_precision : float, default None
            τ; None is `self.prior_precision`.
        noise : float, default None
            σ; None is `self.noise`.

        Returns
        -------
        float

        References
        ----------
        MacKay (1992); Immer et al. (2021), "Scalable Marginal Likelihood Estimation", eq. (5).
        """
        tau = self.prior_precision if prior_precision is None else prior_precision
        sigma = self.noise if noise is None else noise
        determinant = np.sum(np.log(self._scale(sigma) * self._eigenvalues + tau))
        penalty = tau * self._squared_norm - self.size * np.log(tau)
        return self.log_likelihood(sigma) - (penalty + determinant) / 2

    def tuned(self, *, noise: bool = False) -> Laplace:
        """Sets τ, and on request σ, to their largest evidence, by L-BFGS on their logarithms; returns the object.

        Parameters
        ----------
        noise : bool, default False
            Find σ too.

        Returns
        -------
        Laplace
            This object.

        Raises
        ------
        ValueError
            If σ is asked for, and the loss has none.
        """
        if noise and self.noise is None:
            raise ValueError("noise: this posterior has none; pass noise=1.0, say, for a loss ½‖z − t‖²")
        sigma = [self.noise] if noise and self.noise is not None else []
        start = np.log([self.prior_precision, *sigma])

        def negative(logs: Array) -> Any:
            return -self.log_marginal_likelihood(np.exp(logs[0]), np.exp(logs[1]) if noise else None)

        bounds = [(-40, 40)] * len(start)
        found = minimize(rmad.value_and_grad(negative), start, jac=True, method="L-BFGS-B", bounds=bounds)
        self.prior_precision = float(np.exp(found.x[0]))
        if noise:
            self.noise = float(np.exp(found.x[1]))
        return self

    # -- predictions -----------------------------------------------------------------------------------------------

    def linearized(self, x: Any) -> tuple[Array, Array]:
        """The predictive of the linearized model: z = F(x, θ*) and its covariance J P⁻¹ Jᵀ for every case, exact.

        Parameters
        ----------
        x : (n, …) array
            Inputs.

        Returns
        -------
        z : (n, …) array
            The outputs.
        covariance : (n, K, K) array
            Of the K outputs of a case, without the noise of the targets.

        Raises
        ------
        TypeError
            If the model has several arrays of outputs.
        """
        means, covariances = [], []
        root = self._function(-0.5)
        for part in self._chunks(x):
            z, J = self._jacobian(take(x, part))
            rows = np.reshape(J, (-1, self.mean.size))
            scaled = np.reshape((root @ rows.T).T, (len(z), -1, self.mean.size))
            means.append(z)
            covariances.append(scaled @ np.swapaxes(scaled, 1, 2))
        return np.concatenate(means), np.concatenate(covariances)

    def _chunks(self, x: Any) -> Iterator[slice]:
        n = _cases_of(x)
        step = max(1, min(CASES, NUMBERS // (self.mean.size * self._outputs)))
        return (slice(k, min(k + step, n)) for k in range(0, n, step))

    def _jacobian(self, x: Any) -> tuple[Array, Array]:
        objective = self.curvature.data.objective

        def outputs(flat: Array) -> Any:
            return objective.model_at(flat)(x)

        z = outputs(self.mean)
        _check_output(z)
        return z, np.reshape(rmad.jacobian(outputs)(self.mean), (len(z), -1, self.mean.size))

    def samples(self, x: Any, n: int = 100, *, rng: np.random.Generator | None = None) -> Array:
        """n draws of the outputs of the linearized model, z + J δ, (n, *z.shape); each is one push over all cases.

        Parameters
        ----------
        x : (m, …) array
            Inputs.
        n : int, default 100
            The draws.
        rng : numpy.random.Generator, default None
            Draws δ; None has the seed 0.

        Returns
        -------
        array, (n, *z.shape)
        """
        objective = self.curvature.data.objective
        z, linear = rmad.linearize(lambda flat: objective.model_at(flat)(x), self.mean)
        _check_output(z)
        deviations = self._deviations(COUNT("n", n), generator(rng))
        return np.stack([z + linear.Jv(delta) for delta in deviations])

    def predict(
        self,
        x: Any,
        link: str | Callable[[Array], Array] | None = None,
        *,
        samples: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Any:
        """Probabilities of a classifier, or mean and variance of a regression, with the uncertainty of θ.

        Parameters
        ----------
        x : (n, …) array
            Inputs.
        link : {"softmax", "sigmoid"} or callable, default None
            The map from outputs to probabilities; None is that of the loss, or no link with noise. A function needs
            `samples`.
        samples : int, default None
            Average the link over so many draws of the linearized model. None takes MacKay's probit approximation,
            link(z_k / √(1 + π/8 V_kk)).
        rng : numpy.random.Generator, default None
            Draws; None has the seed 0.

        Returns
        -------
        array, (n, K), or a pair of arrays
            With noise: the mean and the variance of the targets, σ² included.

        Raises
        ------
        ValueError
            If the link is unknown, or a function is given without samples, or neither link nor noise to a loss that
            is no cross-entropy.

        References
        ----------
        MacKay (1992), "The evidence framework applied to classification networks", eq. (8) and (9).
        """
        if self.noise is not None and link is None:
            z, covariance = self.linearized(x)
            return z, np.reshape(_variances(covariance), z.shape) + z.dtype.type(self.noise**2)
        link = getattr(self.curvature.data.objective.loss, "link", None) if link is None else link
        if link is None:
            raise ValueError(
                'predict needs link="softmax" or "sigmoid" for probabilities, or a posterior with noise=σ, for a loss '
                "½‖z − t‖²"
            )
        if not callable(link):
            OneOf(tuple(LINKS))("link", link)
        elif samples is None:
            raise ValueError("link: a function of the outputs needs samples=100, say, to be averaged over")
        apply = link if callable(link) else LINKS[link]
        if samples is not None:
            return np.mean(np.stack([apply(z) for z in self.samples(x, samples, rng=rng)]), axis=0)
        z, covariance = self.linearized(x)
        variances = np.reshape(_variances(covariance), z.shape)
        return apply(z / np.sqrt(1 + z.dtype.type(math.pi / 8) * variances))


def _softmax(z: Array) -> Array:
    e = np.exp(z - np.max(z, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


LINKS: dict[str, Callable[[Array], Array]] = {"softmax": _softmax, "sigmoid": _sigmoid}


def _variances(covariance: Array) -> Array:
    """The diagonals, (n, K)."""
    return np.diagonal(covariance, axis1=1, axis2=2)


def _cases_of(x: Any) -> int:
    n = cases_of(x)
    if not n:
        raise ValueError(f"x must have cases along its first axis, got shape {np.shape(x)}")
    return n


def _check_output(z: Any) -> None:
    if not hasattr(z, "shape") or not np.ndim(z):
        raise TypeError(f"predictions need a model with one array of outputs, (n, …), not {type(z).__name__}")


def _chosen(layers: tuple[Layer, ...], name: str | None) -> Layer:
    """The layer of a name, or the last one."""
    if name is None:
        return layers[-1]
    found = [layer for layer in layers if layer.name == name]
    if not found:
        raise ValueError(f"layer: there is no {name!r}; there are {', '.join(layer.name for layer in layers)}")
    return found[0]
