"""The curvature of a loss over a whole data set: operators, estimates of their numbers, and what is made of them.

In reading order: data (batches, and sums over them), estimates (trace, diagonal and norm by random vectors), solvers
(MINRES and LSMR), inverse, operator (one matrix with its estimates), layers (blocks of parameters), curvature (all the
matrices of a model, a loss and a data set); laplace (a posterior), influence (of training cases on others).
"""
