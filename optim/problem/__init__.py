"""The problem that an optimizer sees: f(θ) on a batch, its gradient, and the local quadratic model with its products.

In reading order: threads and vectors (the machinery), batch (slices of a batch), losses, function (a plain function as
a model), nonconvex, parameters (θ as one vector), shard (the tape of one slice), shards (sums over them), quadratic,
division (how many slices), objective.
"""
