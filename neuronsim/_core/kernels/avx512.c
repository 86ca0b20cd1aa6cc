/* Kernels for x86-64-v4. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt,movbe,prefer-vector-width=512")
#include <immintrin.h>

#include "view.h"

#define LEVEL avx512
#define ROWS 8
#define HAVE_FMA 1
typedef __m512 vec_t;
#define VEC 16
#define VZERO _mm512_setzero_ps()
#define VLOAD(p) _mm512_loadu_ps(p)
#define VSTORE(p, v) _mm512_storeu_ps(p, v)
#define VSET(x) _mm512_set1_ps(x)
#define VFMA(a, b, c) _mm512_fmadd_ps(a, b, c)

#include "level.h"
#endif
