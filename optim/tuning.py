"""Constants of the optimizers that were set by measurement: what each decides, its unit, and where it was measured.

Modules read them as `tuning.NAME`, so that an assignment here, or in a test, holds everywhere; those of the innermost
loops, BLOCK and SUMMED_IN_FLOAT32, are read once. A comment gives the unit first. The section that it names is one of
docs/benchmarks.md or docs/decisions.md; `rmad.tuning` has the constants of the engine. The constants of a method (CG's
tolerance, the factors of a damping rule) stay in the class of the method, with their source.
"""

from __future__ import annotations

# -- passes over long vectors ----------------------------------------------------------------------

# elements of a vector that one pass works on at a time: no temporary is longer, and a NumPy call costs no more than the
# arithmetic of a block. benchmarks/hf_overhead.py
BLOCK = 1 << 17

# elements of a float32 dot product that are summed in float32, before float64 takes over: the error is below
# 512 · 2⁻²⁴ of Σ|aᵢbᵢ|, and 1e-9 of it in practice. tests/optim/test_vectors.py
SUMMED_IN_FLOAT32 = 512

# blocks of a vector: with fewer, starting threads for a pass of CG costs more than it saves.
# benchmarks/hf_overhead.py, which can switch them off
BLOCKS_ON_THREADS_FROM = 4

# -- products and shards of a batch ----------------------------------------------------------------

# multiply-adds of a forward pass of one shard: with fewer, another thread costs more than it saves, because Python
# records the tapes of the shards one after the other. benchmarks.md, "What a second thread is worth"
WORK_PER_SHARD = 20_000_000

# bytes of θ: for longer vectors a product reads v and writes its result in place, for which its sweeps are planned
# again. decisions.md, "A product reads v and writes the result in place"
IN_PLACE_FROM = 1 << 20

# times that the sweeps are planned again because v or the result is another array; from then on v is copied. A run of
# CG, which takes the same two arrays each time, needs one. As above
MOST_BINDINGS = 4

# -- ranks -----------------------------------------------------------------------------------------

# bytes: a vector of which all ranks together have no more is sent to all by all, and added up by each; a longer one is
# divided into stretches. benchmarks/ranks.py
SHORT_MESSAGE = 1 << 16

# ranks: up to so many, sums are formed in the order of the ranks, by a message from each to each; more ranks leave the
# order to the library, whose messages grow with the logarithm of their number. Not measured by itself
RANKS_IN_ORDER = 32

# seconds after Ctrl-C: a rank that still waits for others then ends the job. Not measured
SECONDS_AFTER_INTERRUPT = 5.0

# -- Kronecker factors -----------------------------------------------------------------------------

# cases: KFAC takes no smaller part of a batch for its factors, α and μ. decisions.md, "Kronecker factors from half of a
# batch"
CASES_OF_FACTORS = 500

# numbers in the largest of the stacked cotangents that are pulled together: 64 MB in float32. Not measured by itself
PULLED_TOGETHER = 1 << 24

# Σ (a² g + a g²) over the blocks A ⊗ G, a and g the sizes of A and G: from here on they are inverted on threads. It is
# twice the work that a thread was first thought to be worth, and not measured by itself
INVERTED_ON_THREADS_FROM = 2_000_000

# multiply-adds per second of KFRA's sweep in single precision, on one core of a busy machine: 4 to 6e9, as it forms
# and adds large matrices between the products
AVERAGED_CURVATURE_RATE = 5e9

# seconds, and the ratio to a gradient: KFRA warns if an estimate of its factors takes more than both
AVERAGED_CURVATURE_SECONDS = 0.5
AVERAGED_CURVATURE_GRADIENTS = 10

# outputs of all cases of a batch: a loss that couples the cases takes a product with L″ for each, and a batch with more
# outputs is refused. Not measured
COUPLED_OUTPUTS = 4096

# -- dense methods ---------------------------------------------------------------------------------

# parameters: up to so many, LevenbergMarquardt with solver="auto" forms G by as many products. One factorization of
# that size takes a millisecond or two, and each λ of a step needs one, where CG would run again. Not measured by itself
DENSE_UP_TO = 300

# -- curvature over a data set ---------------------------------------------------------------------

# the part of the memory of the machine that the tapes of a data set may take; more is streamed. Not measured
HELD_MEMORY = 0.4

# bytes held per byte of the arrays of a forward pass: 0.6 to 0.8 for ten batches, which share the buffers of the
# sweeps; one batch has buffers of its own size. benchmarks.md, "Curvature over a data set"
TAPE_AND_BUFFERS = 1.5

# bytes of memory that are assumed where the system does not say
MEMORY_UNLESS_KNOWN = 4e9
