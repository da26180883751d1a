// The part of cuBLAS that CuPy uses, on host memory, column-major, by plain loops.
// Half precision (gemmEx) is computed in float and rounded at the end, as cuBLAS does.
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <vector>

typedef std::complex<float> complex64;
typedef std::complex<double> complex128;
enum { NONE = 0, TRANSPOSED = 1, ADJOINT = 2 };           // cublasOperation_t
enum { R_32F = 0, R_64F = 1, R_16F = 2, C_32F = 4, C_64F = 5 };  // cudaDataType

extern "C" {
void (*host_cublas_called)(const char*) = nullptr;  // is told the name of each function that is called
int host_pointer_mode = 0;
}
static void called(const char* name) { if (host_cublas_called) host_cublas_called(name); }

template <class T> static T conj_of(T x) { return x; }
template <> complex64 conj_of(complex64 x) { return std::conj(x); }
template <> complex128 conj_of(complex128 x) { return std::conj(x); }

// The element (i, j) of op(A).
template <class T>
static T at(const T* A, int ld, int op, int i, int j) {
  T a = op == NONE ? A[i + (size_t)j * ld] : A[j + (size_t)i * ld];
  return op == ADJOINT ? conj_of(a) : a;
}

// C ← α op(A) op(B) + β C, along the columns of A; β = 0 does not read C.
template <class T>
static void gemm(int opa, int opb, int m, int n, int k, T alpha, const T* A, int lda, const T* B, int ldb, T beta, T* C, int ldc) {
  std::vector<T> transposed;
  if (opa != NONE) {
    transposed.resize((size_t)m * k);
    for (int l = 0; l < k; l++)
      for (int i = 0; i < m; i++) transposed[i + (size_t)l * m] = at(A, lda, opa, i, l);
    A = transposed.data();
    lda = m;
  }
  for (int j = 0; j < n; j++) {
    T* c = C + (size_t)j * ldc;
    for (int i = 0; i < m; i++) c[i] = beta == T(0) ? T(0) : beta * c[i];
    for (int l = 0; l < k; l++) {
      T b = alpha * at(B, ldb, opb, l, j);
      const T* a = A + (size_t)l * lda;
      for (int i = 0; i < m; i++) c[i] += a[i] * b;
    }
  }
}

// y ← α op(A) x + β y for A (m, n).
template <class T>
static void gemv(int op, int m, int n, T alpha, const T* A, int lda, const T* x, int dx, T beta, T* y, int dy) {
  int rows = op == NONE ? m : n, columns = op == NONE ? n : m;
  for (int i = 0; i < rows; i++) {
    T s = 0, &yi = y[(size_t)i * dy];
    for (int j = 0; j < columns; j++) s += at(A, lda, op, i, j) * x[(size_t)j * dx];
    yi = alpha * s + (beta == T(0) ? T(0) : beta * yi);
  }
}

// B ← α op(A)⁻¹ B (left) or α B op(A)⁻¹ (right) for a triangle A.
template <class T>
static void trsm(bool left, bool upper, int op, bool unit, int m, int n, T alpha, const T* A, int lda, T* B, int ldb) {
  int k = left ? m : n, others = left ? n : m;
  bool from_the_end = left == (upper != (op != NONE));
  for (int o = 0; o < others; o++) {
    auto b = [&](int i) -> T& { return left ? B[i + (size_t)o * ldb] : B[o + (size_t)i * ldb]; };
    auto a = [&](int i, int l) { return left ? at(A, lda, op, i, l) : at(A, lda, op, l, i); };
    for (int step = 0; step < k; step++) {
      int i = from_the_end ? k - 1 - step : step;
      T s = alpha * b(i);
      for (int l = from_the_end ? i + 1 : 0; l < (from_the_end ? k : i); l++) s -= a(i, l) * b(l);
      b(i) = unit ? s : s / a(i, i);
    }
  }
}

// xᵀy, or xᴴy, summed in double precision.
template <class T>
static int dot(int n, const T* x, int dx, const T* y, int dy, bool adjoint, T* result) {
  std::complex<double> s = 0;
  for (int i = 0; i < n; i++) {
    T a = adjoint ? conj_of(x[(size_t)i * dx]) : x[(size_t)i * dx];
    s += std::complex<double>(a) * std::complex<double>(y[(size_t)i * dy]);
  }
  if constexpr (std::is_floating_point<T>::value) *result = s.real(); else *result = T(s);
  return 0;
}

template <class T>
static int norm(int n, const T* x, int dx, T* result) {
  double s = 0;
  for (int i = 0; i < n; i++) s += (double)x[(size_t)i * dx] * x[(size_t)i * dx];
  *result = std::sqrt(s);
  return 0;
}

// -- the functions with a letter for the type ------------------------------------------------------------------------

extern "C" {

#define FOR_EACH_TYPE(f) f(S, float) f(D, double) f(C, complex64) f(Z, complex128)

#define gemm_v2(L, T)                                                                                                  \
  int cublas##L##gemm_v2(void*, int opa, int opb, int m, int n, int k, const T* alpha, const T* A, int lda,            \
                         const T* B, int ldb, const T* beta, T* C, int ldc) {                                          \
    called(#L "gemm");                                                                                                 \
    gemm<T>(opa, opb, m, n, k, *alpha, A, lda, B, ldb, *beta, C, ldc);                                                 \
    return 0;                                                                                                          \
  }
FOR_EACH_TYPE(gemm_v2)

#define gemmStridedBatched(L, T)                                                                                       \
  int cublas##L##gemmStridedBatched(void*, int opa, int opb, int m, int n, int k, const T* alpha, const T* A, int lda, \
                                    long long sa, const T* B, int ldb, long long sb, const T* beta, T* C, int ldc,     \
                                    long long sc, int count) {                                                         \
    called(#L "gemmStridedBatched");                                                                                   \
    for (int q = 0; q < count; q++)                                                                                    \
      gemm<T>(opa, opb, m, n, k, *alpha, A + q * sa, lda, B + q * sb, ldb, *beta, C + q * sc, ldc);                    \
    return 0;                                                                                                          \
  }
FOR_EACH_TYPE(gemmStridedBatched)

#define gemmBatched(L, T)                                                                                              \
  int cublas##L##gemmBatched(void*, int opa, int opb, int m, int n, int k, const T* alpha, const T** A, int lda,       \
                             const T** B, int ldb, const T* beta, T** C, int ldc, int count) {                         \
    called(#L "gemmBatched");                                                                                          \
    for (int q = 0; q < count; q++)                                                                                    \
      gemm<T>(opa, opb, m, n, k, *alpha, A[q], lda, B[q], ldb, *beta, C[q], ldc);                                      \
    return 0;                                                                                                          \
  }
FOR_EACH_TYPE(gemmBatched)

#define gemv_v2(L, T)                                                                                                  \
  int cublas##L##gemv_v2(void*, int op, int m, int n, const T* alpha, const T* A, int lda, const T* x, int dx,         \
                         const T* beta, T* y, int dy) {                                                                \
    called(#L "gemv");                                                                                                 \
    gemv<T>(op, m, n, *alpha, A, lda, x, dx, *beta, y, dy);                                                            \
    return 0;                                                                                                          \
  }
FOR_EACH_TYPE(gemv_v2)

#define axpy_v2(L, T)                                                                                                  \
  int cublas##L##axpy_v2(void*, int n, const T* alpha, const T* x, int dx, T* y, int dy) {                             \
    called(#L "axpy");                                                                                                 \
    for (int i = 0; i < n; i++) y[(size_t)i * dy] += *alpha * x[(size_t)i * dx];                                       \
    return 0;                                                                                                          \
  }
FOR_EACH_TYPE(axpy_v2)

#define scal_v2(L, T)                                                                                                  \
  int cublas##L##scal_v2(void*, int n, const T* alpha, T* x, int dx) {                                                 \
    called(#L "scal");                                                                                                 \
    for (int i = 0; i < n; i++) x[(size_t)i * dx] *= *alpha;                                                           \
    return 0;                                                                                                          \
  }
FOR_EACH_TYPE(scal_v2)

#define trsm_v2(L, T)                                                                                                  \
  int cublas##L##trsm_v2(void*, int side, int uplo, int op, int diag, int m, int n, const T* alpha, const T* A,        \
                         int lda, T* B, int ldb) {                                                                     \
    called(#L "trsm");                                                                                                 \
    trsm<T>(side == 0, uplo == 1, op, diag == 1, m, n, *alpha, A, lda, B, ldb);                                        \
    return 0;                                                                                                          \
  }
FOR_EACH_TYPE(trsm_v2)

// -- gemmEx: the types are arguments ---------------------------------------------------------------------------------

}  // extern "C"

typedef uint16_t half;
static float from_half(half h) {
  int exponent = h >> 10 & 31, fraction = h & 1023;
  float x = exponent == 31 ? (fraction ? NAN : INFINITY)
                           : exponent ? std::ldexp(fraction + 1024.f, exponent - 25) : std::ldexp(float(fraction), -24);
  return h & 0x8000 ? -x : x;
}
static half to_half(float x) {  // to the nearest, ties to even
  half sign = std::signbit(x) ? 0x8000 : 0;
  x = std::fabs(x);
  if (std::isnan(x)) return sign | 0x7e00;
  if (x >= 65520) return sign | 0x7c00;
  int exponent = x == 0 ? -14 : std::max(std::ilogb(x), -14);
  return sign | half(((exponent + 14) << 10) + std::lrint(std::ldexp(x, 10 - exponent)));
}

// The product of matrices in half precision, computed in float.
static void gemm_of_halves(int opa, int opb, int m, int n, int k, float alpha, const half* A, int lda, const half* B, int ldb, float beta, half* C, int ldc) {
  auto wide = [](const half* x, int ld, int columns) {
    std::vector<float> y((size_t)ld * columns);
    for (size_t i = 0; i < y.size(); i++) y[i] = from_half(x[i]);
    return y;
  };
  std::vector<float> a = wide(A, lda, opa == NONE ? k : m), b = wide(B, ldb, opb == NONE ? n : k), c((size_t)m * n);
  gemm<float>(opa, opb, m, n, k, alpha, a.data(), lda, b.data(), ldb, 0, c.data(), m);
  for (int j = 0; j < n; j++)
    for (int i = 0; i < m; i++) {
      half& y = C[i + (size_t)j * ldc];
      y = to_half(c[i + (size_t)j * m] + (beta == 0 ? 0 : beta * from_half(y)));
    }
}

// For A, B and C of one type; returns a cublasStatus_t.
static int gemm_ex(int type, bool half_scalars, int opa, int opb, int m, int n, int k, const void* alpha, const void* A, int lda,
                   long long sa, const void* B, int ldb, long long sb, const void* beta, void* C, int ldc, long long sc, int count) {
#define ONE_TYPE(T) \
  gemm<T>(opa, opb, m, n, k, *(const T*)alpha, (const T*)A + q * sa, lda, (const T*)B + q * sb, ldb, *(const T*)beta, (T*)C + q * sc, ldc)
  for (int q = 0; q < count; q++) switch (type) {
    case R_32F: ONE_TYPE(float); break;
    case R_64F: ONE_TYPE(double); break;
    case C_32F: ONE_TYPE(complex64); break;
    case C_64F: ONE_TYPE(complex128); break;
    case R_16F: {
      float one = half_scalars ? from_half(*(const half*)alpha) : *(const float*)alpha;
      float other = half_scalars ? from_half(*(const half*)beta) : *(const float*)beta;
      gemm_of_halves(opa, opb, m, n, k, one, (const half*)A + q * sa, lda, (const half*)B + q * sb, ldb, other, (half*)C + q * sc, ldc);
      break;
    }
    default: return 15;  // CUBLAS_STATUS_NOT_SUPPORTED
  }
  return 0;
}

extern "C" {

static const int COMPUTE_16F = 64, COMPUTE_16F_PEDANTIC = 65;
static bool in_half(int compute) { return compute == COMPUTE_16F || compute == COMPUTE_16F_PEDANTIC; }

int cublasGemmEx(void*, int opa, int opb, int m, int n, int k, const void* alpha, const void* A, int type, int lda, const void* B, int,
                 int ldb, const void* beta, void* C, int, int ldc, int compute, int) {
  called("GemmEx");
  return gemm_ex(type, in_half(compute), opa, opb, m, n, k, alpha, A, lda, 0, B, ldb, 0, beta, C, ldc, 0, 1);
}
int cublasGemmStridedBatchedEx(void*, int opa, int opb, int m, int n, int k, const void* alpha, const void* A, int type, int lda,
                               long long sa, const void* B, int, int ldb, long long sb, const void* beta, void* C, int, int ldc,
                               long long sc, int count, int compute, int) {
  called("GemmStridedBatchedEx");
  return gemm_ex(type, in_half(compute), opa, opb, m, n, k, alpha, A, lda, sa, B, ldb, sb, beta, C, ldc, sc, count);
}
int cublasSgemmEx(void*, int opa, int opb, int m, int n, int k, const float* alpha, const void* A, int type, int lda, const void* B, int,
                  int ldb, const float* beta, void* C, int, int ldc) {
  called("SgemmEx");
  return gemm_ex(type, false, opa, opb, m, n, k, alpha, A, lda, 0, B, ldb, 0, beta, C, ldc, 0, 1);
}

// -- the others ------------------------------------------------------------------------------------------------------

int cublasSdot_v2(void*, int n, const float* x, int dx, const float* y, int dy, float* result) {
  return called("Sdot"), dot(n, x, dx, y, dy, false, result);
}
int cublasDdot_v2(void*, int n, const double* x, int dx, const double* y, int dy, double* result) {
  return called("Ddot"), dot(n, x, dx, y, dy, false, result);
}
int cublasCdotu_v2(void*, int n, const complex64* x, int dx, const complex64* y, int dy, complex64* result) {
  return called("Cdotu"), dot(n, x, dx, y, dy, false, result);
}
int cublasZdotu_v2(void*, int n, const complex128* x, int dx, const complex128* y, int dy, complex128* result) {
  return called("Zdotu"), dot(n, x, dx, y, dy, false, result);
}
int cublasCdotc_v2(void*, int n, const complex64* x, int dx, const complex64* y, int dy, complex64* result) {
  return called("Cdotc"), dot(n, x, dx, y, dy, true, result);
}
int cublasZdotc_v2(void*, int n, const complex128* x, int dx, const complex128* y, int dy, complex128* result) {
  return called("Zdotc"), dot(n, x, dx, y, dy, true, result);
}
int cublasSnrm2_v2(void*, int n, const float* x, int dx, float* result) {
  return called("Snrm2"), norm(n, x, dx, result);
}
int cublasDnrm2_v2(void*, int n, const double* x, int dx, double* result) {
  return called("Dnrm2"), norm(n, x, dx, result);
}

int cublasCreate_v2(void** handle) { *handle = (void*)16; return 0; }
int cublasDestroy_v2(void*) { return 0; }
int cublasSetStream_v2(void*, void*) { return 0; }
int cublasGetStream_v2(void*, void** stream) { *stream = nullptr; return 0; }
int cublasSetMathMode(void*, int) { return 0; }
int cublasGetMathMode(void*, int* mode) { *mode = 0; return 0; }
int cublasSetPointerMode_v2(void*, int mode) { host_pointer_mode = mode; return 0; }
int cublasGetPointerMode_v2(void*, int* mode) { *mode = host_pointer_mode; return 0; }
int cublasGetVersion_v2(void*, int* version) { *version = 130000; return 0; }

}  // extern "C"
