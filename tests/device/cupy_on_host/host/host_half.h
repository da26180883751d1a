// Half precision: CUDA's own header, which has host versions of its functions.
#pragma once
#include <cuda_fp16.h>
#define __CUDACC_VER_MAJOR__ 13  // cupy/float16.cuh then takes CUDA's half
