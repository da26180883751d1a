"""Sparse Jacobians and Hessians: which elements can differ from zero, and few products that give all of them.

slots         sets of few inputs, as index arrays
reach         the inputs that each array on a tape depends on, read off its blocks
colouring     columns that share no row, which one product finds together
derivatives   sparse_jacobian, sparse_hessian, and the patterns that they keep
"""
