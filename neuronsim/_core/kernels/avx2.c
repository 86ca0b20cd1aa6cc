/* Kernels for x86-64-v3. */
#if defined(__x86_64__)
#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt,movbe")
#include <immintrin.h>

#include "view.h"

#define LEVEL avx2
#define ROWS 6
#define HAVE_FMA 1
typedef __m256 vec_t;
#define VEC 8
#define VZERO _mm256_setzero_ps()
#define VLOAD(p) _mm256_loadu_ps(p)
#define VSTORE(p, v) _mm256_storeu_ps(p, v)
#define VSET(x) _mm256_set1_ps(x)
#define VFMA(a, b, c) _mm256_fmadd_ps(a, b, c)

#include "level.h"
#endif
