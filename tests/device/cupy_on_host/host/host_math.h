// The functions that CUDA has without an #include.
#pragma once

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
template <class T> static inline T __ldg(const T* p) { return *p; }

// -- the standard library's, by their plain names --

using std::isnan; using std::isinf; using std::isfinite; using std::signbit;
using std::abs; using std::fabs; using std::pow; using std::exp; using std::log; using std::sqrt; using std::cbrt;
using std::sin; using std::cos; using std::tan; using std::asin; using std::acos; using std::atan; using std::atan2;
using std::sinh; using std::cosh; using std::tanh; using std::asinh; using std::acosh; using std::atanh;
using std::log1p; using std::expm1; using std::log2; using std::exp2; using std::log10; using std::hypot;
using std::fmod; using std::remainder; using std::floor; using std::ceil; using std::trunc; using std::rint;
using std::round; using std::copysign; using std::nextafter; using std::ldexp; using std::frexp; using std::modf;
using std::logb; using std::ilogb; using std::fmax; using std::fmin;
using std::erf; using std::erfc; using std::tgamma; using std::lgamma;

template <class A, class B>
static inline typename std::common_type<A, B>::type min(A a, B b) { return b < a ? b : a; }
template <class A, class B>
static inline typename std::common_type<A, B>::type max(A a, B b) { return a < b ? b : a; }

// -- CUDA's own --

static inline double rsqrt(double x) { return 1 / sqrt(x); }
static inline float rsqrt(float x) { return 1 / sqrtf(x); }
static inline float rsqrtf(float x) { return 1 / sqrtf(x); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline double exp10(int x) { return ::exp10((double)x); }
static inline double sinpi(double x) { return sin(M_PI * x); }
static inline double cospi(double x) { return cos(M_PI * x); }

// erf's inverse: Winitzki's approximation, then four Newton steps.
static inline double erfinv(double y) {
  if (std::fabs(y) >= 1) return std::fabs(y) == 1 ? std::copysign(INFINITY, y) : NAN;
  double w = log((1 - y) * (1 + y)), a = 0.147, t = 2 / (M_PI * a) + w / 2;
  double x = copysign(sqrt(sqrt(t * t - w / a) - t), y);
  for (int k = 0; k < 4; k++) x -= (erf(x) - y) / (2 / sqrt(M_PI) * exp(-x * x));
  return x;
}
static inline double erfcinv(double y) { return erfinv(1 - y); }
// exp(x²) erfc(x), by its asymptotic series Σ (−1)ⁿ (2n − 1)!! / (2x²)ⁿ / (x √π) where exp(x²) is too large.
static inline double erfcx(double x) {
  if (x < 25) return exp(x * x) * erfc(x);
  double term = 1, sum = 1;
  for (int n = 1; n < 8; n++) sum += term *= -(2 * n - 1) / (2 * x * x);
  return 0.5641895835477563 / x * sum;
}
static inline double normcdf(double x) { return erfc(-x / M_SQRT2) / 2; }
static inline double normcdfinv(double p) { return M_SQRT2 * erfinv(2 * p - 1); }
static inline double cyl_bessel_i0(double x) { return std::cyl_bessel_i(0.0, std::fabs(x)); }
static inline double cyl_bessel_i1(double x) { return std::copysign(std::cyl_bessel_i(1.0, std::fabs(x)), x); }
static inline float erfinvf(float x) { return erfinv(x); }
static inline float erfcinvf(float x) { return erfcinv(x); }
static inline float erfcxf(float x) { return erfcx(x); }
static inline float normcdff(float x) { return normcdf(x); }
static inline float normcdfinvf(float x) { return normcdfinv(x); }
static inline float cyl_bessel_i0f(float x) { return cyl_bessel_i0(x); }
static inline float cyl_bessel_i1f(float x) { return cyl_bessel_i1(x); }

// -- bits --

namespace host {
template <class To, class From>
static inline To bits_of(From x) {
  static_assert(sizeof(To) == sizeof(From), "as many bits");
  To y;
  memcpy(&y, &x, sizeof(To));
  return y;
}
}  // namespace host
static inline float __int_as_float(int a) { return host::bits_of<float>(a); }
static inline int __float_as_int(float a) { return host::bits_of<int>(a); }
static inline float __uint_as_float(unsigned a) { return host::bits_of<float>(a); }
static inline unsigned __float_as_uint(float a) { return host::bits_of<unsigned>(a); }
static inline double __longlong_as_double(long long a) { return host::bits_of<double>(a); }
static inline long long __double_as_longlong(double a) { return host::bits_of<long long>(a); }
static inline int __double2hiint(double d) { return (int)(__double_as_longlong(d) >> 32); }
static inline int __double2loint(double d) { return (int)__double_as_longlong(d); }
static inline double __hiloint2double(int high, int low) {
  return __longlong_as_double(((long long)high << 32) | (unsigned)low);
}
