"""The table of calls that must give under tracing what NumPy and SciPy give: one file per kind of function.

    calls("np.<f>(<a><ax>)", f="sum | mean", a="X | F", ax=" | , axis=0")

is every combination: np.sum(X), np.sum(X, axis=0), np.mean(X), … The names stand for the arrays in `table.ARRAYS`,
which are traced, and in `table.CONSTANTS`, which are not. Wrong calls are part of the table: they must raise NumPy's
error.
"""
