"""The tape, a Wengert list of the primitives that a function called, and what its nodes are made of.

In reading order: frozen and captured (plain arrays that must stay as they were), specs (shape and dtype apart from the
array), fours (four tangents of a number), scaling (diagonals), tape, residuals (the arrays that a block keeps), blocks
(of Jacobians).
"""
