"""Mistakes of the first hour: what people write, the error that comes, and the words in it that help.

A function is a row: its body is what people write; `fails` has the kind of error and a part of what is printed, which
is the message and the notes below it; `works` has what comes of code that would be a mistake elsewhere. The tables in
tests/rmad, tests/nn and tests/optim hold more of single functions, layers and optimizers.
"""

from __future__ import annotations

import importlib
import math
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.ndimage
import scipy.optimize
import scipy.signal
import scipy.sparse.linalg
import scipy.stats

import nn
import nn.other_names
import optim
import optim.other_names
import rmad
import rmad.errors.other_names

ONES = np.ones(3)
X = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
T = np.array([0, 1, 2, 0, 1])
LOSS = nn.SoftmaxCrossEntropy()
OUTSIDE = np.zeros(3)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8, rng=rng()), nn.Tanh(), nn.Linear(8, 3, rng=rng()))


def one_output() -> nn.Module:
    return nn.Linear(4, 1, rng=rng())


FAILS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {}
WORKS: dict[str, tuple[Callable[[], Any], Any]] = {}


def fails(kind: type[Exception], words: str) -> Callable[[Callable[[], Any]], None]:
    """A row of a mistake; words: a part of the message or of its notes, and … stands for anything."""

    def add(code: Callable[[], Any]) -> None:
        assert code.__name__ not in FAILS
        FAILS[code.__name__] = code, kind, words

    return add


def works(result: Any) -> Callable[[Callable[[], Any]], None]:
    """A row of code that does what its author expects."""

    def add(code: Callable[[], Any]) -> None:
        assert code.__name__ not in WORKS
        WORKS[code.__name__] = code, result

    return add


def printed(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


@pytest.mark.parametrize("name", FAILS)
def test_a_mistake_has_one_clear_error(name: str) -> None:
    code, kind, words = FAILS[name]
    with pytest.raises(kind) as caught:
        code()
    assert type(caught.value) is kind, caught.value
    assert re.search(".*".join(map(re.escape, words.split("…"))), printed(caught.value), re.S), printed(caught.value)


@pytest.mark.parametrize("name", WORKS)
def test_what_one_may_write(name: str) -> None:
    code, result = WORKS[name]
    if result is not None:
        np.testing.assert_allclose(code(), result, rtol=1e-6)
    else:
        code()


def test_there_are_sixty() -> None:
    assert len(FAILS) >= 60


# -- the arguments of rmad.grad and its kin ----------------------------------------------------------------------------


@fails(TypeError, "x is int64; pass floats, e.g. x.astype(float)")
def an_integer() -> Any:
    return rmad.grad(lambda x: x * x)(2)


@fails(TypeError, "x is int64; pass floats, e.g. x.astype(float)")
def an_array_of_integers() -> Any:
    return rmad.grad(lambda x: np.sum(x**2))(np.arange(3))


@fails(TypeError, "x is a list of 2 numbers, and f gets one, too; np.array(x) is an array")
def a_list() -> Any:
    return rmad.grad(lambda x: np.sum(x**2))([1.0, 2.0])


@works([2.0, 4.0])
def a_list_that_is_made_an_array() -> Any:
    return rmad.grad(lambda x: np.sum(np.array(x) ** 2))([1.0, 2.0])


@fails(TypeError, "x is of type str, not an array of floats")
def a_string() -> Any:
    return rmad.grad(np.sum)("abc")


@fails(TypeError, "x is None; does the function that makes it end without a return?")
def none() -> Any:
    return rmad.grad(np.sum)(None)


@fails(TypeError, "x is of type set…make it a list")
def a_set() -> Any:
    return rmad.grad(np.sum)({1.0, 2.0})


@fails(TypeError, "x is of type object…tuples, lists, dicts")
def an_object() -> Any:
    return rmad.grad(np.sum)(object())


@fails(TypeError, "the function comes first, and float64 is none: rmad.grad(f)(x)")
def a_value_for_the_function() -> Any:
    return rmad.grad(np.sum(ONES))(ONES)


@fails(TypeError, "the arguments of f come after it, rmad.grad(f)(x)")
def the_argument_at_once() -> Any:
    return rmad.grad(np.sum, ONES)


@fails(TypeError, "and there is none: rmad.grad(f)(x)")
def no_argument() -> Any:
    return rmad.grad(np.sum)()


@fails(TypeError, "argnums names argument 2, but there are 2 positional arguments")
def argnums_beyond() -> Any:
    return rmad.grad(lambda x, y: np.sum(x * y), argnums=2)(ONES, ONES)


@fails(TypeError, "argnums must be an int or a tuple of ints, not 'y'")
def argnums_by_name() -> Any:
    return rmad.grad(lambda x, y: np.sum(x * y), argnums="y")(ONES, ONES)


@works([1.0, 1.0, 1.0])
def argnums_from_the_end() -> Any:
    return rmad.grad(lambda x, y: np.sum(x * y), argnums=-1)(ONES, ONES)


@fails(TypeError, "the function comes first, and ndarray is none")
def arguments_in_another_order() -> Any:
    return rmad.hvp(ONES, np.sum, ONES)  # type: ignore[arg-type]


@fails(TypeError, "of a scalar, but f returned shape (3,); use rmad.vjp or rmad.linearize")
def a_vector_of_outputs() -> Any:
    return rmad.grad(np.sin)(ONES)


@works([1.0, 1.0, 1.0])
def an_array_of_one() -> Any:
    return rmad.grad(lambda x: np.sum(x, keepdims=True))(ONES)


@fails(TypeError, "of a real scalar, but f returned a complex one")
def a_complex_output() -> Any:
    return rmad.grad(lambda x: np.sum(np.fft.fft(x)))(ONES)


@fails(TypeError, "of a scalar, but f returned tuple")
def two_outputs() -> Any:
    return rmad.grad(lambda x: (np.sum(x), x))(ONES)


@fails(TypeError, "f returned None: does it end without a return?")
def no_return() -> Any:
    return rmad.grad(lambda x: None)(ONES)


@fails(TypeError, "missing 1 required positional argument: 'v'")
def no_tangent() -> Any:
    return rmad.jvp(np.sin, ONES)  # type: ignore[call-arg]


@fails(ValueError, "v has shape (2,), but x has shape (3,)")
def a_tangent_of_another_shape() -> Any:
    return rmad.jvp(np.sin, ONES, np.ones(2))


@works([1.0, 0.0, 0.0])
def a_tangent_of_integers() -> Any:
    return rmad.jvp(np.copy, ONES, np.array([1, 0, 0]))[1]


@fails(AttributeError, "here it is left out: f runs as it is written")
def a_name_of_jax() -> Any:
    return rmad.jit


@fails(AttributeError, "here it is rmad.jacobian")
def another_name_of_jax() -> Any:
    return rmad.jacrev


@fails(AttributeError, "here it is left out: only what is differentiated is traced")
def a_name_of_pytorch() -> Any:
    return rmad.no_grad


@fails(AttributeError, "here it is rmad.linearize")
def a_name_of_tensorflow() -> Any:
    return rmad.GradientTape


@fails(AttributeError, "here it is scipy.optimize.minimize(f, x0, jac=rmad.grad(f))")
def a_name_of_scipy() -> Any:
    return rmad.minimize


# -- inside a function that is differentiated --------------------------------------------------------------------------


@fails(TypeError, "math.sin takes numbers, and got an array of shape (3,); np.sin takes arrays")
def math_of_an_array() -> Any:
    return rmad.grad(lambda x: math.sin(x))(ONES)


@works([-0.9899924966] * 3)
def math_of_a_number() -> Any:
    return rmad.grad(lambda x: math.sin(np.sum(x)))(ONES)


@fails(ValueError, "Use a.any() or a.all()")
def an_if_on_an_array() -> Any:
    return rmad.grad(lambda x: np.sum(x) if x > 0 else -np.sum(x))(ONES)


@works(1.0)
def an_if_on_a_number() -> Any:
    return rmad.grad(lambda x: x if x > 0 else -x)(2.0)


@fails(TypeError, "float(x) of a traced array would lose its derivative…rmad.stop_gradient(x)")
def a_float_of_it() -> Any:
    return rmad.grad(lambda x: float(x[0]))(ONES)


@fails(TypeError, "x.item() of a traced array would lose its derivative")
def item() -> Any:
    return rmad.grad(lambda x: x[0].item())(ONES)


@works([1.0, 1.0, 1.0])
def an_int_of_it() -> Any:
    return rmad.grad(lambda x: np.sum(x) * int(x[0]))(ONES)


@works([1.0, 1.0, 1.0])
def in_a_format() -> Any:
    return rmad.grad(lambda x: [f"{x[0]:.3f}", np.sum(x)][1])(ONES)


@works([1.0, 1.0, 1.0])
def a_print() -> Any:
    return rmad.grad(lambda x: [repr(x), np.sum(x)][1])(ONES)


@fails(TypeError, "a traced number is no integer: range(int(x))")
def a_loop_of_as_many() -> Any:
    return rmad.grad(lambda x: sum(x for _ in range(x)))(2.0)


@works([1.0, 1.0, 1.0])
def changed_in_place() -> Any:
    return rmad.grad(lambda x: np.sum(x.__iadd__(1)))(ONES)


@works([1.0, 0.0, 0.0])
def the_largest_by_python() -> Any:
    return rmad.grad(lambda x: max(x))(ONES)


@works([1.0, 1.0, 1.0])
def a_sum_by_python() -> Any:
    return rmad.grad(lambda x: sum(x))(ONES)


@works([2.0, 1.0, 0.0])
def a_list_of_numbers() -> Any:
    return rmad.grad(lambda x: np.sum(np.array([np.float64(2.0) * x[0], x[1]])))(ONES)


@fails(AttributeError, "x.backward of PyTorch, JAX or pandas is here: rmad.grad(f)(x), with f a function")
def pytorchs_backward() -> Any:
    return rmad.grad(lambda x: np.sum(x).backward())(ONES)


@fails(AttributeError, "is here: rmad.stop_gradient(x)")
def pytorchs_detach() -> Any:
    return rmad.grad(lambda x: np.sum(x.detach()))(ONES)


@fails(AttributeError, "is here: x[None], x[..., None]")
def pytorchs_unsqueeze() -> Any:
    return rmad.grad(lambda x: np.sum(x.unsqueeze(0)))(ONES)


@fails(TypeError, "x.reshape(…) takes a shape")
def pytorchs_view() -> Any:
    return rmad.grad(lambda x: np.sum(x.view(3, 1)))(ONES)


@fails(AttributeError, "an array that f makes and writes into, y = x.copy(); y[i] = ")
def jaxs_at() -> Any:
    return rmad.grad(lambda x: np.sum(x.at[0].set(1.0)))(ONES)


@fails(AttributeError, "x.values of PyTorch, JAX or pandas is here: np.asarray of the Series")
def pandas_values() -> Any:
    return rmad.grad(lambda x: np.sum(x.values))(ONES)


@works([1.0, 1.0, 1.0])
def a_product_with_a_sparse_matrix() -> Any:
    return rmad.grad(lambda x: np.sum(scipy.sparse.eye(3) @ x))(ONES)


@fails(TypeError, "scipy.sparse.csr_array takes plain arrays only; use for its product with v: np.bincount")
def a_sparse_matrix_of_it() -> Any:
    return rmad.grad(lambda x: scipy.sparse.csr_array((x, ([0, 1, 2], [0, 1, 2]))).sum())(ONES)


@fails(ValueError, "scipy.sparse.diags takes plain arrays only; use np.diag(x)")
def a_sparse_diagonal() -> Any:
    return rmad.grad(lambda x: scipy.sparse.diags(x).sum())(ONES)


@fails(TypeError, "scipy.sparse.linalg.spsolve takes plain arrays only; use rmad.linear_map")
def a_sparse_solve() -> Any:
    return rmad.grad(lambda x: np.sum(scipy.sparse.linalg.spsolve(scipy.sparse.eye(3, format="csc"), x)))(ONES)


@fails(TypeError, "scipy.stats.norm.logpdf takes plain arrays only; use rmad.stats.norm.logpdf")
def a_density() -> Any:
    return rmad.grad(lambda x: np.sum(scipy.stats.norm.logpdf(x)))(ONES)


@fails(TypeError, "scipy.integrate.quad takes plain arrays only; use rmad.quad")
def an_integral() -> Any:
    return rmad.grad(lambda x: scipy.integrate.quad(lambda s: x[0] * s, 0, 1)[0])(ONES)


@fails(TypeError, "scipy.integrate.solve_ivp takes plain arrays only; use rmad.solve_ivp")
def an_ode() -> Any:
    return rmad.grad(lambda x: np.sum(scipy.integrate.solve_ivp(lambda t, y: -y, (0, 1), x).y))(ONES)


@fails(TypeError, "scipy.optimize.minimize takes plain arrays only; use rmad.implicit")
def a_minimum() -> Any:
    return rmad.grad(lambda x: np.sum(scipy.optimize.minimize(lambda z: np.sum((z - x) ** 2), np.zeros(3)).x))(ONES)


@fails(TypeError, "scipy.optimize.brentq takes plain arrays only; use rmad.implicit")
def a_root() -> Any:
    return rmad.grad(lambda x: scipy.optimize.brentq(lambda z: z - x[0], -5, 5))(ONES)


@fails(TypeError, "scipy.interpolate.CubicSpline takes plain arrays only; use rmad.CubicSpline")
def a_spline() -> Any:
    return rmad.grad(lambda x: scipy.interpolate.CubicSpline([0, 1, 2], x)(0.5))(ONES)


@fails(TypeError, "scipy.ndimage.gaussian_filter takes plain arrays only; use rmad.linear(f, transpose)")
def a_filter() -> Any:
    return rmad.grad(lambda x: np.sum(scipy.ndimage.gaussian_filter(x, 1.0)))(ONES)


@fails(TypeError, "scipy.signal.convolve takes plain arrays only; use numpy.convolve")
def a_convolution() -> Any:
    return rmad.grad(lambda x: np.sum(scipy.signal.convolve(x, [1.0, 2])))(ONES)


# -- layers and losses -------------------------------------------------------------------------------------------------


@fails(TypeError, "Linear: rng is missing, which it draws its numbers from; rng=np.random.default_rng(0)")
def no_generator() -> Any:
    return nn.Linear(4, 3)  # type: ignore[call-arg]


@fails(TypeError, "Dropout: rng is missing")
def no_generator_for_dropout() -> Any:
    return nn.Dropout(0.5)  # type: ignore[call-arg]


@fails(TypeError, "rng must be a Generator, as np.random.default_rng(0), not int")
def a_seed_for_the_generator() -> Any:
    return nn.Linear(4, 3, rng=0)  # type: ignore[arg-type]


@fails(TypeError, "give the layers one by one, Sequential(*layers)")
def layers_in_a_list() -> Any:
    return nn.Sequential([nn.Tanh()])  # type: ignore[arg-type]


@fails(TypeError, "layer 0 is the class Tanh; give an object, Tanh()")
def a_class_for_a_layer() -> Any:
    return nn.Sequential(nn.Tanh)  # type: ignore[arg-type]


@fails(ValueError, "expected (n, h, w, 3); np.moveaxis(x, 1, -1)")
def images_of_pytorch() -> Any:
    return nn.Conv2d(3, 4, 3, rng=rng())(np.ones((2, 3, 8, 8), np.float32))


@fails(NotImplementedError, "define forward(self, x)")
def a_module_without_forward() -> Any:
    return nn.Module()(X)


@fails(TypeError, "opt.fit(x, t, …) trains a model")
def training_by_the_model() -> Any:
    return net().train(X)  # type: ignore[arg-type]


@fails(AttributeError, "here it is opt.fit(x, t, epochs=…), with opt = optim.HessianFree(model, loss)")
def keras_fit() -> Any:
    return net().fit(X, T)


@fails(AttributeError, "here it is model(x)")
def keras_predict() -> Any:
    return net().predict(X)


@fails(AttributeError, "here it is opt.fit(x, t, epochs=…)")
def keras_compile() -> Any:
    return net().compile()


@fails(AttributeError, "here it is arrays of CuPy")
def to_a_gpu() -> Any:
    return net().to("cuda")


@fails(AttributeError, "left out: opt.step(x, t) forms the gradient afresh")
def zero_grad_of_a_model() -> Any:
    return net().zero_grad()


@fails(AttributeError, "here it is opt.step(x, t), which differentiates model and loss")
def backward_of_a_loss() -> Any:
    return LOSS.backward()


@fails(ValueError, "which the module does not have")
def the_state_of_another_model() -> Any:
    return net().load_state_dict(one_output().state_dict())


@fails(TypeError, "a state is {name: array}, as state_dict gives it, not NoneType")
def no_state() -> Any:
    return net().load_state_dict(None)  # type: ignore[arg-type]


@fails(AttributeError, "here it is x.repeat(2, axis=1).repeat(2, axis=2) in a forward, or nn.ConvTranspose2d")
def a_layer_of_pytorch() -> Any:
    return nn.Upsample


@fails(AttributeError, "here it is nn.Linear")
def a_layer_of_keras() -> Any:
    return nn.Dense


@fails(AttributeError, "here it is any function (z, t) -> scalar")
def a_loss_of_pytorch() -> Any:
    return nn.L1Loss


@fails(TypeError, "z must hold real floats, not int64")
def outputs_and_targets_swapped() -> Any:
    return LOSS(T, net()(X))


# -- optimizers --------------------------------------------------------------------------------------------------------


@fails(TypeError, "SGD(model, loss, lr, …) takes the loss, and the model itself in place of a list of its parameters")
def parameters_for_the_model() -> Any:
    return optim.SGD(net().parameters(), lr=0.1)


@fails(TypeError, "takes the loss: it differentiates loss(model(x), t) itself")
def no_loss() -> Any:
    return optim.Adam(net())


@fails(TypeError, "SGD: lr is missing; it has no default")
def no_learning_rate() -> Any:
    return optim.SGD(net(), LOSS)  # type: ignore[call-arg]


@fails(TypeError, "Adam has no argument 'learning_rate'; here it is lr")
def keras_learning_rate() -> Any:
    return optim.Adam(net(), LOSS, learning_rate=1e-3)  # type: ignore[call-arg]


@fails(TypeError, "SGD has no argument 'weight_decay'; here it is l2")
def pytorchs_weight_decay() -> Any:
    return optim.SGD(net(), LOSS, lr=0.1, weight_decay=1e-3)  # type: ignore[call-arg]


@fails(TypeError, "Adam has no argument 'momentum'; it has lr, betas, eps, l2, …weight_decay")
def momentum_of_adam() -> Any:
    return optim.Adam(net(), LOSS, momentum=0.9)  # type: ignore[call-arg]


@fails(TypeError, "it belongs to opt.fit(x, t, …)")
def epochs_of_an_optimizer() -> Any:
    return optim.HessianFree(net(), LOSS, epochs=3)  # type: ignore[call-arg]


@fails(TypeError, "lr must be a number, got [0.001]")
def a_list_for_the_rate() -> Any:
    return optim.Adam(net(), LOSS, lr=[1e-3])  # type: ignore[arg-type]


@fails(TypeError, "optim.Function(forward, params) makes one of a plain function")
def a_function_for_the_model() -> Any:
    return optim.KFAC(lambda x: x, LOSS)


@fails(TypeError, "loss is the class SoftmaxCrossEntropy; give an object")
def a_class_for_the_loss() -> Any:
    return optim.Adam(net(), nn.SoftmaxCrossEntropy)


@fails(TypeError, "loss must be a loss object or a callable (z, t) -> scalar; got str")
def a_name_for_the_loss() -> Any:
    return optim.Adam(net(), "mse")  # type: ignore[arg-type]


@fails(TypeError, "it holds int64, which is constant: make it float32")
def integers_as_parameters() -> Any:
    return optim.Adam(optim.Function(lambda p, x: x @ p, np.ones((4, 3), int)), LOSS)


@fails(AttributeError, "left out: opt.step(x, t) forms the gradient afresh")
def zero_grad() -> Any:
    return optim.Adam(net(), LOSS).zero_grad()


@fails(TypeError, "step takes a batch, opt.step(x, t), and forms the gradient itself")
def a_step_without_data() -> Any:
    return optim.Adam(net(), LOSS).step()  # type: ignore[call-arg]


@fails(ValueError, "z has shape (5, 1), but t has shape (5,); t[..., None] has a column")
def a_row_of_targets() -> Any:
    return optim.Adam(one_output(), nn.SquaredError()).step(X, X[:, 0])


@works(None)
def one_hot_targets() -> Any:
    return optim.Adam(net(), LOSS).step(X, np.eye(3)[T])


@fails(TypeError, "labels t must be integers, not float64; t.astype(int) makes them")
def labels_as_floats() -> Any:
    return optim.Adam(net(), LOSS).step(X, T.astype(float))


@fails(ValueError, "t has the label 3, but z of shape (5, 3) has 3 classes, 0 … 2")
def labels_from_one() -> Any:
    return optim.Adam(net(), LOSS).step(X, T + 1)


@fails(ValueError, "labels are for nn.SoftmaxCrossEntropy, np.eye(3)[t] makes targets of them")
def labels_for_a_squared_error() -> Any:
    return optim.Adam(net(), nn.SquaredError()).step(X, T)


@fails(ValueError, "t must be labels of shape (5,)")
def fewer_targets() -> Any:
    return optim.Adam(net(), LOSS).step(X, T[:4])


@fails(ValueError, "x has 2 features: its shape is (5, 2), expected (…, 4)")
def other_features() -> Any:
    return optim.Adam(net(), LOSS).step(X[:, :2], T)


@fails(TypeError, "x must be an array of floats, not a list; np.array(x, np.float32) makes one of it")
def a_list_of_cases() -> Any:
    return optim.Adam(net(), LOSS).step(X.tolist(), T)


@fails(TypeError, "not of int64; x.astype(np.float32) makes one of it")
def integers_for_features() -> Any:
    return optim.Adam(net(), LOSS).step(X.astype(int), T)


@fails(ValueError, "the batch is empty: x and t have no cases")
def an_empty_batch() -> Any:
    return optim.Adam(net(), LOSS).step(X[:0], T[:0])


@fails(TypeError, "loss must return a scalar, a mean over cases, but it returned shape (5,)")
def a_loss_per_case() -> Any:
    return optim.Adam(net(), lambda z, t: np.sum(z**2, 1)).step(X, T)


@fails(TypeError, "an accuracy is no loss; measure it with measure= of opt.fit")
def an_accuracy_for_the_loss() -> Any:
    return optim.Adam(net(), lambda z, t: np.mean(np.argmax(z, 1) == t)).step(X, T)


@works(None)
def two_outputs_and_kfac() -> Any:
    return optim.KFAC(
        optim.Function(lambda p, x: (x @ p, x @ p), np.ones((4, 3))), lambda z, t: np.sum(z[0] ** 2)
    ).step(X, T)


@fails(ValueError, "SGD: the state has the entries…expected")
def the_state_of_another_optimizer() -> Any:
    return optim.SGD(net(), LOSS, lr=0.1).load_state_dict(optim.Adam(net(), LOSS).state_dict())


@fails(optim.StateDoesNotFit, "the state does not fit: SGD: the state has the entries")
def to_resume_with_another_optimizer() -> Any:
    return optim.SGD(net(), LOSS, lr=0.1).fit(X, T, updates=2, resume=optim.Adam(net(), LOSS).fit(X, T, updates=1))


@fails(AttributeError, "here it is optim.Adam(model, loss, weight_decay=…)")
def adamw() -> Any:
    return optim.AdamW


@fails(AttributeError, "optim.Adam(model, loss, betas=(0.0, 0.99)), RMSprop with its bias corrected")
def rmsprop() -> Any:
    return optim.RMSprop


@fails(AttributeError, "here it is optim.LevenbergMarquardt")
def lm() -> Any:
    return optim.LM


@fails(AttributeError, "has no attribute 'Adagrad'; not here; of its kind is optim.Adam")
def adagrad() -> Any:
    return optim.Adagrad


@fails(AttributeError, "here it is opt.fit(x, t, …), a method of every optimizer")
def a_trainer() -> Any:
    return optim.Trainer


@fails(AttributeError, "here it is lr=optim.schedules.Cosine(…)")
def a_scheduler() -> Any:
    return optim.lr_scheduler


@fails(ValueError, "fit needs a budget: epochs, updates or seconds")
def fit_without_a_budget() -> Any:
    return optim.Adam(net(), LOSS).fit(X, T)


# -- other packages ------------------------------------------------------------------------------------------------

SOMELIB = """
import numpy as np
from somelib import _inner

def score(a, b):
    return _inner.check(a) - b

class Table:
    def __init__(self, data):
        self.data = _inner.table(data)
"""
INNER = """
import numpy as np
def check(a):
    return float(a)

def table(data):
    return table(np.array(data))
"""


@pytest.fixture
def somelib(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package that is installed, and takes plain arrays only, as scikit-learn and pandas do."""
    folder = tmp_path / "site-packages" / "somelib"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from somelib._scores import Table, score\n")
    (folder / "_scores.py").write_text(SOMELIB)
    (folder / "_inner.py").write_text(INNER)
    monkeypatch.syspath_prepend(str(folder.parent))
    yield importlib.import_module("somelib")
    for name in [name for name in sys.modules if name.startswith("somelib")]:
        del sys.modules[name]


def test_a_function_of_another_package(somelib: Any) -> None:
    """What scikit-learn does: sklearn.metrics.mean_squared_error."""
    with pytest.raises(TypeError, match=r"somelib\.score takes plain arrays only; write what it computes in NumPy"):
        rmad.grad(lambda x: somelib.score(x[0], 1.0))(ONES)


def test_a_package_that_asks_for_an_array_without_end(somelib: Any) -> None:
    """What pandas does: Series(x) calls np.array until it is one."""
    with pytest.raises(RecursionError) as caught:
        rmad.grad(lambda x: np.sum(somelib.Table(x).data))(ONES)
    assert "called with a traced array: somelib.Table takes plain arrays only" in printed(caught.value)


def test_scikit_learn_and_pandas() -> None:
    metrics, pandas = pytest.importorskip("sklearn.metrics"), pytest.importorskip("pandas")
    with pytest.raises(TypeError, match=r"sklearn\.metrics\.mean_squared_error takes plain arrays only"):
        rmad.grad(lambda x: metrics.mean_squared_error(ONES, x))(ONES)
    with pytest.raises(RecursionError) as caught:
        rmad.grad(lambda x: np.sum(pandas.Series(x)))(ONES)
    assert "pandas.Series takes plain arrays only" in printed(caught.value)
    with pytest.raises(TypeError, match=r"not a DataFrame; x.to_numpy\(np.float32\) makes one of it"):
        optim.Adam(net(), LOSS).step(pandas.DataFrame(X), T)


class Frame:
    """As much of a DataFrame as is looked at."""

    iloc = None
    shape = (5, 4)

    def to_numpy(self, dtype: Any = None) -> Any:
        return X

    def __len__(self) -> int:
        return 5


def test_a_data_frame() -> None:
    with pytest.raises(TypeError, match=r"x is of type Frame, not an array of floats; pass x.to_numpy\(\)"):
        rmad.grad(np.sum)(Frame())
    with pytest.raises(TypeError, match=r"not a Frame; x.to_numpy\(np.float32\) makes one of it"):
        optim.Adam(net(), LOSS).step(Frame(), T)
    with pytest.raises(TypeError, match=r"x holds a Frame of pandas; x.to_numpy\(\) makes an array"):
        optim.Adam(net(), LOSS).fit(Frame(), T, epochs=1)


# -- without NaN ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [optim.Adam, optim.HessianFree, optim.KFAC])
def test_nan_in_the_data_is_named_and_changes_nothing(method: Callable[..., Any]) -> None:
    opt = method(net(), LOSS)
    before = opt.model[0].weight
    with pytest.warns(optim.NumericalWarning, match=f"{method.__name__}: non-finite loss; the step is rejected"):
        info = opt.step(X * np.nan, T)
    assert info.rejected
    assert opt.model[0].weight is before


def writes_outside(x: Any) -> Any:
    held = [OUTSIDE]
    held[0][0] = x[0]
    return np.sum(held[0])


def test_an_array_from_outside() -> None:
    """NumPy's error is printed above it, with the line."""
    with pytest.raises(
        TypeError, match=r"held\[0\] is a plain array that rmad does not follow; write into one .*np\.zeros\(n\)"
    ):
        rmad.grad(writes_outside)(ONES)


# -- the tables of names -------------------------------------------------------------------------------------------

TABLES = {
    "rmad": (rmad, rmad.errors.other_names.HERE),
    "nn": (nn, nn.other_names.HERE),
    "optim": (optim, optim.other_names.HERE),
    "a model": (net(), nn.other_names.OF_MODULES),
    "a loss": (LOSS, nn.other_names.OF_LOSSES),
    "an optimizer": (optim.Adam(net(), LOSS), optim.other_names.OF_OPTIMIZERS),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_names_has_none_that_is_there_and_none_twice(name: str) -> None:
    owner, table = TABLES[name]
    names = [theirs for every in table.values() for theirs in every]
    assert len(names) == len(set(names))
    assert [theirs for theirs in names if hasattr(owner, theirs)] == []


@pytest.mark.parametrize("name", TABLES)
def test_what_a_table_names_is_there(name: str) -> None:
    for ours in TABLES[name][1]:
        for package, path in re.findall(r"\b(rmad|nn|optim)\.(\w+(?:\.\w+)?)", ours):
            owner: Any = {"rmad": rmad, "nn": nn, "optim": optim}[package]
            for part in path.split("."):
                owner = getattr(owner, part)
        for attribute in re.findall(r"\bopt\.(\w+)", ours):
            assert hasattr(optim.Adam(net(), LOSS), attribute)
        for attribute in re.findall(r"\bmodel\.(\w+)", ours):
            assert hasattr(net(), attribute)


def test_names_of_arrays_are_none_of_a_traced_array() -> None:
    def look(x: Any) -> Any:
        names = [theirs for every in rmad.errors.other_names.OF_ARRAYS.values() for theirs in every]
        assert len(names) == len(set(names))
        assert [name for name in names if hasattr(x, name)] == []
        return np.sum(x)

    rmad.grad(look)(ONES)


def test_arguments_of_optimizers_are_there() -> None:
    import inspect

    known = {
        name
        for method in (optim.Adam, optim.SGD, optim.HessianFree, optim.LBFGS, optim.KFAC)
        for name in inspect.signature(method).parameters
    }
    assert set(optim.other_names.ARGUMENTS.values()) <= known
