"""Names that other libraries use, and ours: the error for rmad.jacfwd, or for x.detach(), names the one to use here.

JAX, autograd, PyTorch, TensorFlow, SciPy. `nn` and `optim` have tables of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from types import ModuleType
from typing import Any

__all__ = ["HERE", "OF_ARRAYS", "absent", "advice", "explaining", "instead"]

Table = Mapping[str, tuple[str, ...]]
"""What to write here → the names elsewhere. What begins with "not here" says so, and perhaps why."""

HERE: Table = {
    "rmad.grad": ("gradient", "gradients", "backward", "nabla", "autograd", "approx_fprime", "grad_fn"),
    "rmad.value_and_grad": ("grad_and_value", "value_and_gradient", "fun_and_grad"),
    "rmad.jacobian": ("jacfwd", "jacrev", "jac", "approx_derivative", "batch_jacobian"),
    "rmad.hessian": ("hess",),
    "rmad.hvp, or rmad.HessianOperator(f, x) for several products": (
        *("hessian_vector_product", "make_hvp", "vhp", "HVP"),
    ),
    "rmad.GGNOperator": ("ggn", "gauss_newton", "gnvp", "GGN", "make_ggnvp"),
    "rmad.grad of the sum": ("elementwise_grad", "egrad"),
    "rmad.jvp": ("make_jvp", "pushforward", "forward_ad"),
    "rmad.vjp": ("make_vjp", "pullback"),
    "rmad.linearize": ("GradientTape", "ForwardAccumulator", "Tape", "trace"),
    "lin.JTu of y, lin = rmad.linearize(f, x)": ("linear_transpose",),
    "rmad.ravel": ("ravel_pytree", "flatten"),
    "rmad.map_leaves": ("tree_map", "tree_util", "tree_multimap"),
    "rmad.primitive, which takes both directions": (
        *("custom_jvp", "custom_vjp", "defjvp", "defvjp", "custom_gradient", "Function", "extend_vjp"),
    ),
    "rmad.checkpoint": ("remat", "recompute_grad"),
    "rmad.stop_gradient": ("detach", "lax_stop_gradient", "stop_grad", "zero_grad"),
    "rmad.check_grads": ("gradcheck", "gradgradcheck", "check_grad", "test_gradients"),
    "rmad.implicit": ("custom_root", "custom_linear_solve", "fixed_point", "root", "fsolve", "brentq"),
    "rmad.solve_ivp": ("odeint", "ode", "diffrax"),
    "rmad.CubicSpline, or numpy.interp": ("interp1d", "UnivariateSpline", "interpolate"),
    "scipy.optimize.minimize(f, x0, jac=rmad.grad(f))": ("minimize", "optimize"),
    "scipy.optimize.least_squares(f, x0, jac=rmad.jacobian(f))": ("least_squares", "curve_fit"),
    "NumPy itself, import numpy as np": (
        *("numpy", "np", "array", "asarray", "tensor", "Tensor", "Variable", "from_numpy", "fft"),
    ),
    "np.random.default_rng(seed)": ("random", "manual_seed", "PRNGKey"),
    "SciPy itself, import scipy": ("scipy", "special"),
    "left out: f runs as it is written": ("jit", "make_jaxpr", "compile", "function", "tf_function"),
    "left out: only what is differentiated is traced": ("no_grad", "enable_grad", "inference_mode", "set_grad_enabled"),
    "a loop of Python, or an if": ("scan", "lax", "cond", "while_loop", "fori_loop", "switch"),
    "an axis of the arrays": ("vmap", "pmap", "vectorized_map"),
    "arrays of CuPy: docs/gpu.md": ("cuda", "device", "device_put", "to_device"),
    "a package of its own, import nn": ("nn", "Module", "Linear"),
    "a package of its own, import optim": ("optim", "optimizers", "optimizer"),
}

OF_ARRAYS: Table = {
    "rmad.stop_gradient(x)": ("detach", "numpy", "cpu", "data", "primal"),
    "rmad.grad(f)(x), with f a function": ("backward", "grad", "requires_grad", "requires_grad_", "grad_fn"),
    "x.shape, x.size a number": ("numel", "dim", "nelement", "get_shape"),
    "x[None], x[..., None]": ("unsqueeze", "expand_dims"),
    "np.transpose(x, axes)": ("permute",),
    "x.reshape(…)": ("view_as", "reshape_as"),
    "np.broadcast_to(x, shape)": ("expand", "expand_as", "broadcast_to"),
    "x.copy()": ("clone",),
    "x.astype(dtype)": ("float", "double", "half", "long", "type", "to", "cast"),
    "x @ y": ("mm", "matmul", "bmm", "mv"),
    "a function of NumPy, as np.exp(x)": (
        *("exp", "log", "sin", "cos", "tanh", "sqrt", "abs", "pow", "sigmoid", "relu", "softmax", "where", "norm"),
        *("square", "exp_", "add", "mul", "div", "sub", "neg", "clamp", "masked_fill", "scatter", "gather", "cat"),
    ),
    "an array that f makes and writes into, y = x.copy(); y[i] = …": ("at", "add_", "mul_", "copy_", "fill_", "assign"),
    "arrays of CuPy: docs/gpu.md": ("cuda", "device_buffer"),
    "np.asarray of the Series or the DataFrame": ("values", "iloc", "loc", "to_numpy", "apply", "map", "rolling"),
}


def advice(table: Table, name: str) -> str:
    """Advice on what to write instead of `name`; empty if there is none."""
    ours = instead(table, name)
    return f"; {ours if ours.startswith('not here') else f'here it is {ours}'}" if ours else ""


def instead(table: Table, name: str) -> str:
    """What to write here for `name`; empty if that is not known."""
    return next((ours for ours, theirs in table.items() if name in theirs), "")


def absent(owner: Any, table: Table, name: str) -> AttributeError:
    """The error for an attribute that a module or an object lacks."""
    what = f"module {owner.__name__!r}" if isinstance(owner, ModuleType) else f"{type(owner).__name__!r} object"
    return AttributeError(f"{what} has no attribute {name!r}{advice(table, name)}", name=name, obj=owner)


def explaining(init: Callable[..., None], explain: Callable[[type, tuple[Any, ...], dict[str, Any], str], str]) -> Any:
    """`init` with a better message if the call itself does not fit it: explain(class, args, kwargs, Python's words)."""

    @wraps(init)
    def explained(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            init(self, *args, **kwargs)
        except TypeError as error:
            trace = error.__traceback__
            if trace is None or trace.tb_next is not None:  # it comes from inside
                raise
            raise TypeError(explain(type(self), args, kwargs, str(error)) or str(error)) from None

    return explained
