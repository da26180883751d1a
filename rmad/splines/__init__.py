"""Splines of SciPy that are differentiable in their values, in their knots, and in the points where they are taken.

curves        what all of them share: SciPy's spline for the values, a composition for the derivatives
polynomials   piecewise polynomials, with derivatives, antiderivatives and integrals
cubic         the cubic ones: CubicSpline, CubicHermiteSpline, PchipInterpolator, Akima1DInterpolator
bsplines      make_interp_spline and its splines of any degree
"""
