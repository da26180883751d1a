// What nearly every source of CuPy includes, for g++ to compile once.
#pragma once
#include "host_cuda.h"
#include <cupy/complex.cuh>
#include <cupy/carray.cuh>
#include <cupy/atomics.cuh>
#include <cupy/math_constants.h>
#include <cupy/float16.cuh>
