"""Constants that were set by measurement: what each decides, its unit, and where it was measured.

Modules read them as `tuning.NAME`, so that an assignment here, or in a test, holds everywhere. A comment gives the
unit first. The section that it names is one of docs/benchmarks.md or docs/decisions.md; `optim.tuning` has the
optimizers' constants. Numbers that mathematics, a file format or a data set fixes stay where they are used.
"""

from __future__ import annotations

# -- the amount of work from which numba's loops (the extra `fast`) take over ----------------------

# elements of an array: below, a NumPy call costs about as much as all that it computes.
# decisions.md, "exp and similar functions by our own polynomials"
ELEMENTWISE_LOOPS_FROM = 1 << 14

# numbers in a state h of a recurrent layer: below, the dozen NumPy calls of a step cost little.
# benchmarks/recurrent.py
CELL_LOOPS_FROM = 1 << 12

# numbers in all patches of a convolution: below, loading numba takes longer than it saves.
# benchmarks/depthwise.py; benchmarks/ggn_product.py --problem cifar
CONVOLUTION_LOOPS_FROM = 1 << 20

# multiply-adds of a 3 × 3 convolution by its direct sum: below, Winograd's filtering saves less than numba's loading.
# benchmarks/ggn_product.py --problem cifar
WINOGRAD_FROM = 5_000_000

# channels, the fewer of input and output: below, the sums around Winograd's products cost what the products save.
# decisions.md, "Convolutions: patches for a few images, or fewer products"
WINOGRAD_CHANNELS = 16

# numbers in a contiguous run of a patch: NumPy copies longer runs as fast as numba does.
# decisions.md, "Convolutions: patches for a few images, or fewer products"
NARROW_RUN = 32

# -- plain arrays that a tape needs as they were -----------------------------------------------------

# bytes of an array that is copied when it is used with a traced one: a larger one is watched, which costs as much.
# benchmarks/captured_arrays.py
CAPTURED_COPY = 1 << 16

# bytes of an array that is copied at every use: comparing it with the last copy would cost more.
# benchmarks/captured_arrays.py
CAPTURED_COPY_EACH = 1 << 11

# -- tapes ------------------------------------------------------------------------------------------

# numbers of arrays, x[k], whose nodes a tape remembers: those of a few steps of a loop that asks for them again.
# benchmarks/jacobians.py, whose loop reads four parameters and two states four times a step
ELEMENTS_KNOWN = 64

# numbers of the largest array on a tape up to which one to three tangents are pushed as four, with zeros: four tangents
# of a number are quick. benchmarks/jacobians.py
FOURS_UP_TO = 1 << 8

# elements of the tangents of all nodes up to which a push keeps them all: looking for the last reader costs more.
# benchmarks/jacobians.py
TANGENTS_KEPT = 1 << 18

# -- pieces of work that stay in a cache -----------------------------------------------------------

# bytes of patches, or of Winograd's windows and products, at a time: the largest of 64 KB to 2 MB was the fastest.
# decisions.md, "Convolutions: patches for a few images, or fewer products"
CONVOLUTION_CHUNK = 1 << 21

# bytes of patches at a time on a GPU, where a small product is a waste. An estimate: docs/gpu.md has no timings yet.
CONVOLUTION_CHUNK_ON_GPU = 1 << 28

# elements that the passes of a softmax or a standardization work on in turn.
# benchmarks/large_models.py
PASSES_CHUNK = 1 << 15

# elements of z that a loss works on at a time: such temporaries stay in a cache, and the allocator keeps them; one as
# large as a (1000, 784) batch costs more in page faults than the arithmetic on it.
# benchmarks/ggn_product.py
LOSS_CHUNK = 1 << 17

# bytes of a product that a plan adds to an array, at a time: small enough for a cache, large enough for a fast product.
# benchmarks/large_models.py
ADDED_PRODUCT_CHUNK = 1 << 20

# rows of such a product, at least.
# benchmarks/large_models.py
ADDED_PRODUCT_ROWS = 128

# rows of a symmetric product that are formed at a time: the half above the diagonal is mirrored.
# benchmarks/kfac_cost.py
SYMMETRIC_PRODUCT_ROWS = 256

# -- memory ----------------------------------------------------------------------------------------

# one over a fraction of the memory of all residuals: the share in which a checkpointed recurrence holds its segments.
# benchmarks/recurrent.py, which wants a sixth in all
CHECKPOINTED_SHARE = 7

# numbers in the per-case gradients that are formed at a time.
# benchmarks/hf_overhead.py
CASE_GRADIENTS_CHUNK = 1 << 22

# numbers per case of a node: averaged curvature refuses more, a matrix of 4 GiB in single precision.
# benchmarks/kfac_cost.py, whose largest node has 1000
AVERAGED_CURVATURE_MOST = 1 << 15

# bytes of freed memory that may stay with the process.
# decisions.md, "Freed memory stays with the process"
FREED_MEMORY_KEPT = 512 << 20

# bytes by which the heap grows at a time.
# decisions.md, "Freed memory stays with the process"
HEAP_STEP = 16 << 20

# bytes of a stack of tangents, or of cotangents, of the largest array on a tape.
# benchmarks/jacobians.py
STACK_BYTES = 1 << 25

# bytes of such a stack for the groups of a sparse Jacobian, whose blocks move memory and multiply nothing: it stays in
# the cache. benchmarks/sparse.py
SPARSE_STACK_BYTES = 1 << 20

# -- accuracy and the choice of a routine ----------------------------------------------------------

# rows that one running sum in single precision covers: longer sums lose digits.
# decisions.md, "Softmax and standardization are single nodes"
FLOAT32_SUM_ROWS = 512

# terms of a loss that are added in float32, in several sums in parallel, before float64 takes over.
# tests/nn/test_losses.py holds the error
FLOAT32_LOSS_TERMS = 256

# rows of a triangular matrix: up to so many, and stacks, go to NumPy's LU, which starts no threads.
# decisions.md, "Small triangular systems"
TRIANGULAR_SOLVE_FROM = 64

# multiply-adds of a product from which its left factor is examined for rows of an identity matrix.
# benchmarks/jacobians.py
SELECTED_PRODUCT_FROM = 1 << 20

# rows of ∂g/∂z in `implicit`: a larger one is not formed, GMRES solves with products.
# decisions.md, "A solution is corrected on the tape"
DENSE_SYSTEM_MOST = 2000

# products between two restarts of GMRES, each of which keeps a vector; it counts as failed after twenty times as many.
# decisions.md, "A solution is corrected on the tape"
GMRES_RESTART = 100

# numbers in a state from which `solve_ivp` finds ∂f/∂y with a tangent for several unknowns, if its pattern is sparse.
# benchmarks/solve_ivp.py
GROUPED_FROM = 16

# numbers in a state from which `solve_ivp` keeps ∂f/∂y as sparse matrices, if few elements differ from zero.
# benchmarks/solve_ivp.py
SPARSE_RATES_FROM = 100

# numbers in the columns with which `solve_ivp` calls f at a time to find ∂f/∂y: they and their tangents fit a cache.
# benchmarks/solve_ivp.py
COLUMNS_AT_A_TIME = 1 << 16

# numbers that the tape of a run of `solve_ivp` may hold; of a longer one, the steps are repeated in pieces.
# benchmarks/solve_ivp.py
RUN_NUMBERS = 1 << 22

# numbers that take as much memory as what a node holds next to its array.
# benchmarks/long_tapes.py
NODE_NUMBERS = 50

# numbers in all matrices ∂f/∂y of a run of `solve_ivp` that are formed: with more, stages are repeated one by one.
# decisions.md, "The stages of an initial value problem are columns"
COLUMNS_MOST = 1 << 23

# multiply-adds of a matrix product that take as long as one element of a pass over memory.
# benchmarks/threads.py
ELEMENT_WORK = 10

# -- plans -----------------------------------------------------------------------------------------

# bytes of a node's array, on average over the tape: from there on a plan saves more in one product than it costs.
# benchmarks/long_tapes.py
PLAN_AT_ONCE = 1 << 18

# products over the tape as recorded before it is planned, for smaller arrays.
# benchmarks/long_tapes.py
PRODUCTS_BEFORE_A_PLAN = 12

# nodes: a shorter tape is planned sooner, since that costs a few milliseconds at most.
# benchmarks/long_tapes.py
SHORT_TAPE = 1000

# products over a short tape before it is planned: one of each kind. A plan costs as much as four of a kind.
# benchmarks/node_costs.py
PRODUCTS_ON_A_SHORT_TAPE = 2
