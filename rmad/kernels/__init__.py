"""Kernels: arithmetic on plain arrays that the rules of rmad.primitives and nn call, without tape or tracing.

In reading order: loader (numba's loops, compiled/, on first use), windows (slices of images), elementwise and
gpu_elementwise, gpu_rows (softmax, standardization), slopes (of sigmoid and tanh), gpu_windows (pooling, patches),
patches and gpu_patches (convolution as matrix products), winograd and depthwise (two other ways to convolve), gpu_cells
and cells (a step of an RNN, on a GPU and anywhere).
"""
