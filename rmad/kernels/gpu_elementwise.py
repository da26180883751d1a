"""sigmoid, softplus and the derivatives of these and of tanh on a GPU: one kernel each, right in the tails."""

from __future__ import annotations

from rmad.machine.fused import Elementwise

__all__ = ["FUNCTIONS", "ONE", "WITH_DERIVATIVE"]

FUNCTIONS = """
// 1 / (1 + e^-x), and one minus that
template <typename T> __device__ T sigmoid(T x, T& rest) {
    const T e = exp(-abs(x)), r = 1 / (1 + e);
    rest = x < 0 ? r : e * r;
    return x < 0 ? e * r : r;
}
// tanh x = y, and its slope 1 - y^2 = 4 e / (1 + e)^2, e = e^-2|x|
template <typename T> __device__ T tanh_and(T& slope, T x) {
    const T e = exp(-2 * abs(x));
    slope = 4 * e / ((1 + e) * (1 + e));
    return tanh(x);
}
template <typename T> __device__ T softplus(T x) { return (x > 0 ? x : T(0)) + log1p(exp(-abs(x))); }
"""

ONE = {
    "sigmoid": Elementwise("T x", "T y", "T rest; y = sigmoid(x, rest)", "sigmoid_of", FUNCTIONS),
    "softplus": Elementwise("T x", "T y", "y = softplus(x)", "softplus_of", FUNCTIONS),
}
WITH_DERIVATIVE = {
    "tanh": Elementwise("T x", "T y, T d", "y = tanh_and(d, x)", "tanh_and_derivative", FUNCTIONS),
    "sigmoid": Elementwise(
        "T x", "T y, T d", "T rest; y = sigmoid(x, rest); d = y * rest", "sigmoid_and_derivative", FUNCTIONS
    ),
    "softplus": Elementwise(
        "T x",
        "T y, T d",
        "T rest; y = softplus(x); d = sigmoid(x, rest)",
        "softplus_and_derivative",
        FUNCTIONS,
    ),
}
