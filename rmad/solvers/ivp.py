"""Initial value problems: SciPy chooses the steps on plain values, the tape repeats exactly these.

`steps` repeats them: all stages together, as columns, where f can be called so, else stage by stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rmad.as_written.lists import as_array
from rmad.as_written.swap import paused
from rmad.errors.refusals import numpys_only
from rmad.solvers.closures import has_derivative, plain
from rmad.solvers.runs import method_named, run
from rmad.solvers.steps import along
from rmad.tracing.traced import on_gpu
from rmad.tracing.valued import with_value

__all__ = ["solve_ivp"]


def solve_ivp(
    fun: Callable[..., Any],
    t_span: Sequence[float],
    y0: Any,
    method: Any = "RK45",
    t_eval: Any = None,
    dense_output: bool = False,
    events: Any = None,
    vectorized: bool = False,
    args: Sequence[Any] | None = None,
    **options: Any,
) -> Any:
    """y(t) with dy/dt = f(t, y), y(t₀) = y₀, by SciPy's solve_ivp; differentiable in y₀ and in the parameters of f.

    SciPy chooses the steps with plain values; the tape repeats exactly these. So the values are SciPy's to the last
    bit, and the derivative is that of the numbers that come out; the choice of the steps has none. If nothing is
    traced, this is SciPy's function.

    Parameters
    ----------
    fun : callable (t, y, *args) → dy/dt, (n,)
        It may close over traced arrays.
    t_span : (float, float)
    y0 : (n,) array or list
    method : {"RK45", "RK23", "DOP853", "Radau"}, default "RK45"
        Or SciPy's class of that name; Radau is for stiff systems.
    t_eval : (m,) array, default None
        Times at which y is wanted; default all steps.
    dense_output, events : as in SciPy
        NotImplementedError if something is traced.
    vectorized : bool, default False
        True if fun takes (n, k) as well. Without it the gradient tries that, and checks it.
    args : tuple of trees, default None
        Differentiable.
    **options : as in SciPy
        rtol, atol, max_step, first_step; jac and jac_sparsity for Radau. None of them may be traced.

    Returns
    -------
    result : SciPy's, with y a traced (n, m) array

    Raises
    ------
    NotImplementedError
        Something is traced, and the method is another one, or there are events or dense output.
    TypeError
        t_span, t_eval or an option is traced, or y0 or args hold arrays of CuPy.

    References
    ----------
    Hairer, Nørsett & Wanner (1993), section II.6; Hairer & Wanner (1996), section IV.8.

    Examples
    --------
    >>> def decay(rate):
    ...     f = lambda t, y: -rate * y
    ...     return rmad.solve_ivp(f, (0, 1), [1.0], rtol=1e-9, atol=1e-9).y[0, -1]
    >>> float(rmad.grad(decay)(2.0).round(6))  # −e⁻²
    -0.135335
    """
    import scipy.integrate

    if on_gpu((y0, *([] if args is None else args))):
        raise numpys_only("solve_ivp")
    plain_fun, plain_y0, plain_args = plain(fun), plain(y0), plain(args)
    given = {"t_eval": plain(t_eval), "vectorized": vectorized, "args": plain_args}
    given |= {name: plain(value) for name, value in options.items()}
    if not has_derivative((fun, y0, args)):
        more = {"method": method, "dense_output": dense_output, "events": events}
        return scipy.integrate.solve_ivp(plain_fun, t_span, plain_y0, **given, **more)
    _refuse(dense_output, events, {"t_span": t_span, "t_eval": t_eval, **options})
    with paused():
        taken = run(plain_fun, t_span, plain_y0, method_named(method), given)
    if len(taken.result.t):
        y = along((fun, args), vectorized, taken, as_array(y0).astype(taken.y.dtype))
        taken.result.y = with_value(y, taken.result.y, "solve_ivp")
    return taken.result


def _refuse(dense_output: bool, events: Any, options: dict[str, Any]) -> None:
    """NotImplementedError for what has no derivative here, TypeError for a traced option."""
    if dense_output:
        raise NotImplementedError(
            "solve_ivp: dense_output=True gives functions of plain numbers; pass the times, t_eval"
        )
    if events is not None:
        raise NotImplementedError("solve_ivp: events have no derivative here; leave them out, or stop at a fixed time")
    for name, value in options.items():
        if name != "jac" and has_derivative(value):
            raise TypeError(
                f"solve_ivp: {name} is traced, but y is differentiable in y0, args and what fun closes over only; "
                f"rmad.stop_gradient({name}) is its value"
            )
