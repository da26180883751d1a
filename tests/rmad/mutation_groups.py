"""The modules whose tests are to notice 95 % of all changes, each with the tests that cover it."""

from __future__ import annotations

TABLE = ["tests/rmad/test_primitives.py", "tests/rmad/test_stacked.py"]


def rows(*files: str) -> list[str]:
    """The table of primitives, these files of it."""
    return [*TABLE, f"RMAD_CASES={','.join(files)}"]


LINALG = ["tests/rmad/test_linalg.py", "tests/rmad/test_lengths_at_zero.py", *rows("linalg")]
TIES = ["tests/rmad/test_ties.py", *LINALG]
CONV = ["tests/rmad/test_conv.py", "tests/rmad/test_depthwise.py", *rows("conv")]
PLANS = [
    "tests/rmad/test_plan.py",
    "tests/rmad/test_rewrite.py",
    "tests/rmad/test_stacked.py",
    "tests/rmad/test_fast.py",
    "tests/rmad/test_buffers.py",
    "tests/optim/test_in_place.py",
]
SWEEPS = [
    *(f"tests/rmad/test_{name}.py" for name in ("averaged", "factors", "squares")),
    *(f"tests/optim/test_{name}.py" for name in ("every_loss", "kronecker_curvature", "kronecker_blocks")),
    "tests/optim/test_squared_gradients.py",
    "tests/optim/test_grouped_convolutions.py",
]
DEFAULTS = "tests/test_docstrings.py"
EVERY_OPTIMIZER = ["tests/optim/test_every_optimizer.py", "tests/optim/test_survival.py"]
KRONECKER = ("kronecker", "kronecker_curvature", "kronecker_blocks", "several_outputs", "kfac", "preconditioners")


def optimizer(*files: str) -> list[str]:
    """Tests of documented defaults and of one method, then those of all of them."""
    return [DEFAULTS, *(f"tests/optim/test_{file}.py" for file in files), *EVERY_OPTIMIZER]


GROUPS: dict[str, dict[str, list[str]]] = {
    "rules": {
        "rmad/rules.py": [
            "tests/rmad/test_captured.py",
            "tests/rmad/test_check.py",
            "tests/rmad/test_elementwise.py",
            *rows("elementwise", "shape"),
        ],
        "rmad/tapes/blocks.py": [
            "tests/rmad/test_aliasing.py",
            "tests/rmad/test_plan.py",
            *rows("elementwise", "products"),
        ],
        "rmad/primitives/arguments.py": rows("functions", "special", "fft", "reduce", "statistics"),
        "rmad/primitives/chains.py": ["tests/rmad/test_linalg.py", *rows("products", "linalg", "shape"), *PLANS],
        "rmad/primitives/choices.py": rows("elementwise", "index", "statistics"),
        "rmad/primitives/complexes.py": ["tests/rmad/test_lengths_at_zero.py", *rows("elementwise", "fft")],
        "rmad/primitives/decompositions.py": LINALG,
        "rmad/primitives/determinants.py": LINALG,
        "rmad/primitives/diagonal.py": rows("shape", "linalg"),
        "rmad/primitives/eigen.py": TIES,
        "rmad/primitives/einsum.py": rows("products"),
        "rmad/primitives/elementwise.py": [
            "tests/rmad/test_elementwise.py",
            "tests/rmad/test_tails.py",
            *rows("elementwise"),
        ],
        "rmad/primitives/fft.py": rows("fft"),
        "rmad/primitives/grid.py": ["tests/rmad/test_arrays.py", *rows("shape", "index", "statistics")],
        "rmad/primitives/index.py": ["tests/rmad/test_arrays.py", "tests/rmad/test_jacobian.py", *rows("index")],
        "rmad/primitives/join.py": ["tests/rmad/test_captured.py", "tests/rmad/test_arrays.py", *rows("shape")],
        "rmad/primitives/linalg.py": LINALG,
        "rmad/primitives/matmul.py": ["tests/rmad/test_arrays.py", *rows("products")],
        "rmad/primitives/matrix_functions.py": rows("functions"),
        "rmad/primitives/norms.py": ["tests/rmad/test_tails.py", *LINALG],
        "rmad/primitives/pad.py": rows("shape"),
        "rmad/primitives/folds.py": rows("reduce"),
        "rmad/primitives/pseudo_inverses.py": LINALG,
        "rmad/primitives/polynomials.py": rows("functions", "products"),
        "rmad/primitives/products.py": ["tests/rmad/test_arrays.py", *rows("products")],
        "rmad/primitives/reduce.py": ["tests/rmad/test_arrays.py", *rows("reduce")],
        "rmad/primitives/scipy_linalg.py": rows("functions", "linalg"),
        "rmad/primitives/scipy_special.py": ["tests/rmad/test_linalg.py", *rows("special", "functions")],
        **{
            f"rmad/primitives/{name}.py": ["tests/rmad/test_tails.py", *rows("special", "higher")]
            for name in (
                "boxcox",
                "scipy_distributions",
                "scipy_elliptic",
                "scipy_integrals",
                "scipy_polynomials",
                "zeta_exponents",
            )
        },
        "rmad/primitives/scipy_waves.py": ["tests/rmad/test_tails.py", *rows("higher")],
        "rmad/primitives/several.py": rows("higher"),
        "rmad/primitives/scipy_ufuncs.py": ["tests/rmad/test_tails.py", *rows("special")],
        "rmad/primitives/shape.py": ["tests/rmad/test_arrays.py", *rows("shape")],
        "rmad/primitives/softmax.py": ["tests/rmad/test_tails.py", *rows("special", "functions")],
        "rmad/primitives/sorting.py": rows("index", "shape", "statistics"),
        "rmad/primitives/statistics.py": rows("statistics"),
        "rmad/primitives/svd.py": TIES,
        "rmad/primitives/tied.py": TIES,
        "rmad/primitives/layers/conv.py": CONV,
        "rmad/primitives/layers/normalize.py": [
            "tests/nn/test_layer_norm.py",
            "tests/nn/test_batch_norm.py",
            "tests/rmad/test_plan.py",
            *rows("functions", "statistics"),
        ],
        "rmad/primitives/layers/pool.py": rows("pool"),
        "rmad/primitives/layers/selection.py": rows("pool", "index"),
        "rmad/primitives/layers/symmetric.py": rows("functions", "conv"),
    },
    "sweeps": {
        "rmad/tapes/tape.py": [
            "tests/rmad/test_record.py",
            "tests/rmad/test_aliasing.py",
            "tests/rmad/test_transforms.py",
        ],
        "rmad/plan/pull.py": PLANS,
        "rmad/plan/push.py": PLANS,
        "rmad/plan/rewrite.py": PLANS,
        **{
            f"rmad/written/{name}.py": [
                f"tests/rmad/test_{test}.py" for test in ("views", "own_arrays", "written", "new_arrays")
            ]
            for name in ("arrays", "assignment", "calls", "memory", "pieces", "views")
        },
        **{
            f"rmad/sweeps/{name}.py": SWEEPS
            for name in ("averaged", "case_maps", "factors", "per_case", "rows", "squares", "uses")
        },
    },
    "optimizers": {
        "optim/adam.py": optimizer("first_order"),
        "optim/curveball.py": optimizer("curveball"),
        "optim/factored.py": optimizer(*KRONECKER),
        "optim/first_order.py": optimizer("first_order"),
        "optim/hessian_free.py": optimizer("hessian_free", "hf_features", "roles"),
        "optim/kfac.py": optimizer(*KRONECKER),
        "optim/lbfgs.py": optimizer("lbfgs"),
        "optim/levenberg_marquardt.py": optimizer("levenberg_marquardt"),
        "optim/schedules.py": [DEFAULTS, "tests/optim/test_schedules.py"],
        "optim/sgd.py": optimizer("first_order"),
        "optim/sgn.py": optimizer("sgn"),
        "optim/spectrum.py": [DEFAULTS, "tests/optim/test_spectrum.py"],
        "optim/parts/cg.py": optimizer("cg", "hessian_free"),
        "optim/parts/columns.py": optimizer(*KRONECKER),
        "optim/parts/fallback.py": optimizer("automatic", "sgn"),
        "optim/parts/damping.py": optimizer("damping", "damping_matrices", "at_a_minimum", "kfac", "sgn"),
        "optim/parts/directions.py": optimizer("lbfgs", "trust_region", "krylov", "hessian_free", "sgn"),
        "optim/parts/estimate.py": optimizer(*KRONECKER),
        "optim/parts/factors.py": optimizer(*KRONECKER),
        "optim/parts/kronecker.py": optimizer(*KRONECKER),
        "optim/parts/krylov.py": [DEFAULTS, "tests/optim/test_krylov.py"],
        "optim/parts/linesearch.py": optimizer("sgn", "lbfgs", "hessian_free"),
        "optim/parts/local_model.py": optimizer("hessian_free", "hf_features", "kfac"),
        "optim/parts/passes.py": optimizer("cg", "trust_region", "preconditioners", "hessian_free"),
        "optim/parts/preconditioner.py": optimizer("preconditioners", "hessian_free"),
        "optim/parts/rescaling.py": optimizer(*KRONECKER),
        "optim/parts/roles.py": [DEFAULTS, "tests/optim/test_roles.py"],
        "optim/parts/selection.py": optimizer("selection", "hessian_free"),
        "optim/parts/structural.py": [DEFAULTS, "tests/optim/test_structural.py"],
        "optim/parts/trust_region.py": [DEFAULTS, "tests/optim/test_trust_region.py"],
    },
}
"""Group → module → arguments of pytest; see `mutations.passes`."""

FLOORS = {"rules": 0.95, "sweeps": 0.95, "optimizers": 0.95}
"""Per group the share that must be caught of the changes drawn with seed 0. It only goes up."""

EQUIVALENT = {
    (
        "rmad/sweeps/per_case.py",
        "if rows.axis == 0 and rows.rest == 1 else None",
        "rows.axis == 0 → rows.axis != 0",
    ): "a kernel is pulled case by case: the same, only later",
    (
        "rmad/sweeps/per_case.py",
        "if rows.axis == 0 and rows.rest == 1 else None",
        "0 → 1",
    ): "a kernel is pulled case by case: the same, only later",
    (
        "rmad/sweeps/per_case.py",
        "if rows.axis == 0 and rows.rest == 1 else None",
        "1 → 2",
    ): "a kernel is pulled case by case: the same, only later",
    ("rmad/primitives/shape.py", "def copy(a", "False → True"): "`subok` says nothing about a traced array",
    ("rmad/plan/pull.py", "self.whole = [False] * n", "False → True"): "every entry is set before it is read",
    (
        "rmad/primitives/tied.py",
        "ROUNDING * n**0.5 * eps * growth",
        "ROUNDING * n ** 0.5 → ROUNDING / n ** 0.5",
    ): "a tolerance of rounding: it decides no case",
    (
        "rmad/primitives/tied.py",
        "ROUNDING * n**0.5 * eps * growth",
        "n ** 0.5 → n * 0.5",
    ): "a tolerance of rounding: it decides no case",
    (
        "rmad/primitives/tied.py",
        "ROUNDING * n**0.5 * eps * growth",
        "0.5 → 1.5",
    ): "a tolerance of rounding: it decides no case",
    ("rmad/primitives/eigen.py", "type(np.linalg.eig(np.eye(1)))", "1 → 2"): "the class of the result is the same",
    ("rmad/plan/rewrite.py", "            uses[k] += 1", "1 → 2"): "a node that others read has more than one use, too",
    (
        "rmad/sweeps/factors.py",
        "needed = [False] * len(self.nodes)",
        "False → True",
    ): "every entry is set before it is read",
    (
        "optim/curveball.py",
        "if self.beta is not None and self.momentum is not None:",
        "self.beta is not None and self.momentum is not None → self.beta is not None or self.momentum is not None",
    ): "one without the other is refused",
    ("rmad/written/calls.py", "sys._getframe(1), plain", "1 → 2"): "the frame in between is rmad's own, without names",
    ("rmad/written/memory.py", "self.version += 1", "1 → 2"): "versions are compared, not counted",
    (
        "rmad/written/memory.py",
        "len(self.members) >= self._limit",
        "len(self.members) >= self._limit → len(self.members) > self._limit",
    ): "arrays that nobody holds are dropped a little later",
    (
        "rmad/written/pieces.py",
        "not a.size or a.flags.c_contiguous",
        "not a.size or a.flags.c_contiguous → not a.size and a.flags.c_contiguous",
    ): "the general way lays out contiguous arrays in the same order",
    (
        "rmad/plan/pull.py",
        "self.whole[k] = z, True",
        "True → False",
    ): "the buffer of an output is not used again: more memory only",
    (
        "rmad/primitives/statistics.py",
        'kwargs.keys() <= {"ddof", "keepdims"}',
        "kwargs.keys() <= {'ddof', 'keepdims'} → kwargs.keys() < {'ddof', 'keepdims'}",
    ): "the exact way gives the same, only later",
    (
        "rmad/primitives/grid.py",
        "xp[:1] + abs(period)",
        "1 → 2",
    ): "no x lies beyond the first knot of the next period",
    ("rmad/primitives/linalg.py", "np.expand_dims(b, -1)", "-1 → +1"): "the new axis of a vector is 1 as well as −1",
    (
        "rmad/primitives/tied.py",
        "while np.any(linked & ~one)",
        "linked & ~one → linked | ~one",
    ): "without ties the loop ends after one product",
    ("rmad/sweeps/case_maps.py", "8 * float", "8 → 9"): "a tolerance of rounding: it decides no case",
    (
        "rmad/sweeps/case_maps.py",
        "rows.axis != 0 or rows.rest != 1",
        "1 → 2",
    ): "the map is found by trying out: the same, only later",
    (
        "rmad/written/assignment.py",
        "elif type(y) is Traced and y.place is None",
        "type(y) is Traced → type(y) is not Traced",
    ): "the general way writes the same, only later",
    (
        "rmad/written/arrays.py",
        "    level = -1",
        "-1 → +1",
    ): "the tape of constants takes the first level, so that no function's tape has one below 1",
}
"""Changes that no test can see, by the module, a part of the line and what is changed, each with its reason."""
