"""What ranks have in common with shards in one process: an objective's quantities, and steps of every optimizer."""

from __future__ import annotations

from functools import partial

import numpy as np
from test_every_optimizer import MAKERS

import nn
import optim
import optim.problem.parameters

ROWS = {
    **MAKERS,
    "HessianFree, automatic": optim.HessianFree,
    "HessianFree, report": partial(optim.HessianFree, automatic=False),
    "HessianFree, sampled": partial(optim.HessianFree, automatic=optim.Automatic(little=0, few=0, sample=30, least=1)),
    "HessianFree, factors": partial(
        optim.HessianFree, automatic=False, preconditioner=optim.KroneckerPreconditioner("kflr")
    ),
    "HessianFree, KFRA": partial(
        optim.HessianFree, automatic=False, preconditioner=optim.KroneckerPreconditioner("kfra", exact=True)
    ),
    "HessianFree, random diagonal": partial(
        optim.HessianFree, automatic=False, preconditioner=optim.UnbiasedDiagonal(probes=2)
    ),
    "HessianFree, diagonal": partial(optim.HessianFree, automatic=False, preconditioner=optim.ExactDiagonal()),
    "HessianFree, Hessian": partial(optim.HessianFree, curvature="hessian"),
    "HessianFree, Krylov": partial(optim.HessianFree, direction=optim.KrylovSubspace(4, iterations=5)),
    "HessianFree, ball": partial(optim.HessianFree, direction=optim.SteihaugToint(1.0)),
    "HessianFree, scaled damping": partial(optim.HessianFree, damping=optim.DiagonalDamping(1.0)),
    "HessianFree, any damping": partial(
        optim.HessianFree, damping=optim.MatrixDamping(0.1, lambda q: q.ggn), preconditioner=False
    ),
    "HessianFree, held out": partial(
        optim.HessianFree, backtracking=optim.HeldOut(gap=2, every=1, by="model"), cg_iterations=6
    ),
    "HessianFree, structural": partial(
        optim.HessianFree, structural=optim.StructuralDamping(0.1), preconditioner=optim.UnbiasedDiagonal()
    ),
    "HessianFree, Roles": partial(optim.HessianFree, automatic=False, cg_iterations=4),
    "HessianFree, schedules": partial(
        optim.HessianFree,
        lr=optim.schedules.Linear(1.0, 3, 0.5),
        decay=optim.schedules.Constant(0.9),
        l2=optim.schedules.Step(1e-3, 2),
    ),
    "KFAC, momentum": partial(optim.KFAC, momentum=True, exact_damping=True),
    "KFAC, part": partial(optim.KFAC, cases=0.5),
    "SGN, momentum": partial(optim.SGN, momentum=0.5, preconditioner=True),
}
"""Optimizers with their parts."""


def model(rows=(4, 6, 3), dtype=np.float64):
    """Two layers with dropout between them."""
    rng, (i, h, o) = np.random.default_rng(1), rows
    dropout = nn.Dropout(0.2, rng=np.random.default_rng(3))
    return nn.Sequential(
        nn.Linear(i, h, rng=rng, dtype=dtype), nn.Tanh(), dropout, nn.Linear(h, o, rng=rng, dtype=dtype)
    )


def model_with_states():
    """The same, which returns its hidden states, too."""
    rng = np.random.default_rng(1)
    params = {"W": rng.standard_normal((4, 6)), "V": rng.standard_normal((6, 3))}

    def forward(params, x):
        h = np.tanh(x @ params["W"])
        return h @ params["V"], h

    return optim.Function(forward, params)


def data(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 4)), rng.standard_normal((n, 3))


def slice_of(n, ranks):
    """The cases of this rank."""
    from optim.problem.batch import slices

    return slices(n, ranks.size)[ranks.rank]


def steps(name, n=37, number=3, ranks=None, shards=1):
    """θ, the state and the records after some steps of an optimizer of the table."""
    hyper = {} if name == "HessianFree, schedules" else {"l2": 1e-3}
    made = model_with_states() if name == "HessianFree, structural" else model()
    opt = ROWS[name](made, nn.SquaredError(), **hyper, **({} if ranks is None else {"ranks": ranks}))
    if ranks is None or ranks.size > 1:
        assert opt.objective.crew.threads == (shards if ranks is None else 1)
    if ranks is None:
        opt.objective.shards = shards
    x, t = data(n)
    own = slice_of(n, ranks) if ranks is not None and ranks.sliced else slice(None)
    more = {}
    if name == "HessianFree, held out":
        more = {"curvature_batch": (x[:20], t[:20]), "backtracking_batch": (x[20:], t[20:])}
    x, t = x[own], t[own]
    roles = optim.Roles(x, t, gradient=0.8, curvature=9, ratio=0.5, rng=np.random.default_rng(0))
    infos = []
    for k in range(number):
        infos.append(opt.step(**roles(k)) if name == "HessianFree, Roles" else opt.step(x, t, **more))
    return opt.objective.flat(), opt.state_dict(), infos


def quantities(n=11, shards=1, ranks=None, chunks=None, rows=(4, 6, 3), loss=None):
    """All that an objective computes on a batch, by name."""
    loss = nn.SoftmaxCrossEntropy() if loss is None else loss
    division = {"threads": shards, "shards": shards} if ranks is None else {"ranks": ranks, "threads": 1}
    objective = optim.Objective(model(rows), loss, 1e-3, cases_in_memory=chunks, **division)
    objective.begin_step()
    x, t = data(n)
    t = np.argmax(t, axis=1)
    if ranks is not None and ranks.sliced:
        x, t = x[slice_of(n, ranks)], t[slice_of(n, ranks)]
    v, w = (np.random.default_rng(seed).standard_normal(objective.size) for seed in (9, 10))
    found, q, out = {}, objective.quadratic(x, t), np.empty_like(v)
    found["value"] = objective.value(x, t)
    found["value at"] = objective.value_at(objective.flat() + v / 10, x, t)
    found["value too"], found["gradient"] = objective.value_and_gradient(x, t)
    found["value of the model"], found["gradient of the model"] = q.value, q.gradient
    found["Gv"], found["Hv"] = q.ggn @ v, q.hessian @ v
    q.ggn_product(v, out)
    found["Gv in place"] = out.copy()
    found["vGv"], found["slope"] = q.residual(v, out)
    found["residual"] = out.copy()
    found["wGw"], found["vGw"], found["slope of w"] = q.residual_along(w, v)
    found["along"] = q.curvature_along(v)
    found["between"] = q.curvature_between(v, w)
    found["squares"] = q.squared_gradients()
    if hasattr(loss, "sqrt_hessian"):
        found["random diagonal"] = optim.UnbiasedDiagonal(probes=2).estimate(q, (1,))
        found["diagonal"] = optim.ExactDiagonal().estimate(q, (1,))
    for method in () if chunks else ("kfac", "empirical", "kflr", "kfra"):
        factors = optim.kronecker_factors(q, method, seed=4, samples=2)
        found |= {f"{method}: A": np.concatenate([block.A.ravel() for block in factors.blocks])}
        found |= {f"{method}: G": np.concatenate([block.G.ravel() for block in factors.blocks])}
        found[f"{method}: d"] = factors.d
    return found
