"""Names of PyTorch, optax, Keras and SciPy for things with another name here, and methods that are not here."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

__all__ = ["ARGUMENTS", "HERE", "OF_OPTIMIZERS", "wrong_call"]

HERE: Mapping[str, tuple[str, ...]] = {
    "optim.Adam(model, loss, weight_decay=…)": ("AdamW", "adamw"),
    "optim.Adam(model, loss, betas=(0.0, 0.99)), RMSprop with its bias corrected": ("RMSprop", "RMSProp", "rmsprop"),
    "not here; of its kind is optim.Adam": (
        *("Adamax", "NAdam", "Nadam", "RAdam", "AMSGrad", "Adagrad", "Adadelta", "Rprop", "Lion", "LAMB", "LARS"),
        *("Adafactor", "ASGD", "SparseAdam", "Ftrl", "AdaBelief", "Sophia", "Adan", "ScheduleFree"),
    ),
    "not here; of its kind is optim.KFAC": ("Shampoo", "SOAP", "Muon", "KBFGS", "TONGA"),
    "optim.SGD(model, loss, lr, momentum=…, nesterov=…)": (
        *("Momentum", "Nesterov", "NAG", "SGDMomentum", "GradientDescent"),
    ),
    "optim.LevenbergMarquardt": ("LM", "GaussNewton", "GN", "least_squares", "leastsq", "LevenbergMarquart"),
    "optim.HessianFree": ("HF", "Newton", "NewtonCG", "TruncatedNewton", "TrustNCG", "GGN", "HFOptimizer"),
    "optim.KFAC": ("NGD", "NaturalGradient", "NaturalGradientDescent", "FOOF", "kfac_jax"),
    "optim.LBFGS": ("L_BFGS", "LBFGSB", "LBFGS_B", "LBFGSLineSearch"),
    "optim.pcg, for linear systems": ("CG", "ConjugateGradients", "cg"),
    "scipy.optimize.minimize(f, x0, jac=rmad.grad(f)) for a function; a method of optim for a model and a loss": (
        *("minimize", "fmin", "fmin_bfgs", "fmin_cg", "root", "curve_fit"),
    ),
    "lr=optim.schedules.Cosine(…), or any function k -> float": (
        *("lr_scheduler", "CosineAnnealingLR", "CosineDecay", "cosine_decay_schedule", "OneCycleLR", "LambdaLR"),
    ),
    "lr=optim.schedules.Step(…)": ("StepLR", "MultiStepLR", "ExponentialLR", "ExponentialDecay", "PiecewiseConstant"),
    "lr=optim.schedules.Linear(…)": ("LinearLR", "PolynomialDecay"),
    "not here; opt.lr may be set between steps": ("ReduceLROnPlateau",),
    "opt.fit(x, t, …), a method of every optimizer": ("fit", "Trainer", "train", "Estimator", "compile"),
    "opt.fit(x, t, batch=…), or nn.data.batches": ("DataLoader", "dataloader"),
    "opt.fit(x, t, validation=…, patience=…)": ("EarlyStopping",),
    "opt.fit(x, t, checkpoints=nn.Checkpoints(folder), resume=True)": ("ModelCheckpoint",),
    "opt.fit(x, t, on_record=…)": ("Callback", "callbacks", "SummaryWriter"),
    "opt.step(x, t)": ("apply_updates", "chain", "apply_gradients", "update", "step"),
    "the l2 of every optimizer, or Adam's weight_decay": ("weight_decay", "add_decayed_weights", "regularizers"),
    "not here": ("swa_utils", "AveragedModel", "EMA", "clip_grad_norm_", "GradScaler", "Lookahead", "SAM"),
    "nn.SquaredError and others: losses are in nn": ("MSELoss", "CrossEntropyLoss", "SquaredError", "losses"),
}

OF_OPTIMIZERS: Mapping[str, tuple[str, ...]] = {
    "left out: opt.step(x, t) forms the gradient afresh": ("zero_grad", "backward", "compute_gradients", "init"),
    "opt.step(x, t)": ("minimize", "apply_gradients", "update", "train_step", "train_on_batch", "optimize", "run"),
    "opt.fit(x, t, …)": ("train", "compile", "partial_fit", "solve"),
    "hyper-parameters as attributes, opt.lr": ("param_groups", "defaults", "learning_rate", "add_param_group"),
    "opt.model": ("params", "parameters", "predict", "net"),
    "opt.state_dict()": ("state", "get_state", "get_config", "save"),
    "opt.load_state_dict(state)": ("set_state", "load"),
}

ARGUMENTS = {
    **dict.fromkeys(("learning_rate", "eta", "alpha", "step_size", "stepsize"), "lr"),
    **dict.fromkeys(("weight_decay", "decay_rate", "reg", "regularization", "l2_reg", "lambda_"), "l2"),
    **dict.fromkeys(("epsilon",), "eps"),
    **dict.fromkeys(("beta_1", "beta1", "beta_2", "beta2", "b1", "b2"), "betas"),
    **dict.fromkeys(("lambd", "lam", "lm_lambda", "tau"), "damping"),
    **dict.fromkeys(("max_iter", "maxiter", "max_iterations", "n_iter"), "iterations"),
    **dict.fromkeys(("cg_max_iter", "cg_iters", "max_cg", "cg_steps"), "cg_iterations"),
    **dict.fromkeys(("tol", "gtol", "tolerance_grad"), "tolerance"),
    **dict.fromkeys(("seed", "random_state", "key"), "rng"),
}
"""Arguments elsewhere, and ours."""

OF_FIT = {
    **dict.fromkeys(("epochs", "batch_size", "n_epochs", "callbacks", "validation_split", "shuffle"), "opt.fit"),
}


def wrong_call(kind: type, args: tuple[Any, ...], kwargs: dict[str, Any], words: str) -> str:
    """What is wrong with the call of an optimizer that Python refuses in these words; "" if they say it."""
    known, name = inspect.signature(kind).parameters, kind.__name__
    for given in kwargs:
        if given not in known:
            ours = ARGUMENTS.get(given)
            if ours in known:
                return f"{name} has no argument {given!r}; here it is {ours}"
            if given in OF_FIT:
                return f"{name} has no argument {given!r}; it belongs to {OF_FIT[given]}(x, t, …)"
            takes = ", ".join(p for p in known if p not in ("model", "loss"))
            return f"{name} has no argument {given!r}; it has {takes}"
    if "loss" in known and len(args) < 2 and "loss" not in kwargs:
        first = args[0] if args else kwargs.get("model")
        parameters = ""
        if isinstance(first, list | tuple | dict) or hasattr(first, "__next__"):
            parameters = f", and the model itself in place of a {type(first).__name__} of its parameters"
        required = [p.name for p in known.values() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
        return (
            f"{name}({', '.join(required)}, …) takes the loss{parameters}: it differentiates loss(model(x), t) itself"
        )
    missing = [p.name for p in list(known.values())[len(args) :] if p.default is p.empty and p.name not in kwargs]
    return f"{name}: {' and '.join(missing)} is missing; it has no default" if missing else ""
