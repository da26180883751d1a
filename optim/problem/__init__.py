"""The problem that an optimizer sees: f(θ) on a batch, its gradient, and the local quadratic model with its products.

In reading order: blas, threads and vectors (the machinery), stored (arrays in files), batch (its shards), pairing (if z
and t broadcast in a loss), losses, means (if a loss is a mean over cases), function (a plain function as a model),
pairs (complex arrays as real ones), mpi and ranks (the processes that share a batch), parameters (θ as one vector),
nonconvex, shard (the tape of one shard), shards (sums over them), quadratic, division (how many shards), objective.
"""
