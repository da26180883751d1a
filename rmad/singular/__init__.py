"""Points where a rule divides by zero, although the function has a derivative there, or where it has none.

In reading order: limits (second derivatives at a length of 0), selected (numbers that a function does not use), ties
(eigenvalues and singular values that agree).
"""
