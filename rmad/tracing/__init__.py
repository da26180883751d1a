"""Traced arrays, which stand in for NumPy's while a function is recorded, and how a call on them leaves a node.

In reading order: handlers (the table of functions with a rule), objects (arrays of traced numbers), loops (the dtype in
which a ufunc computes), methods (of a traced array), traced, weak (Python's numbers), valued (NumPy's own value),
dispatch (of primitives), quick (the most frequent calls).
"""
