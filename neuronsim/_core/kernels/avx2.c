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
#define VADD(a, b) _mm256_add_ps(a, b)
#define VCANONICAL(v) \
    _mm256_blendv_ps(v, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)), _mm256_cmp_ps(v, v, _CMP_UNORD_Q))
typedef __m256i mask_t;
#define VMASK(n) /* the first n lanes */ \
    _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define VLOADM(p, m) _mm256_maskload_ps(p, m)
#define VSTOREM(p, m, v) _mm256_maskstore_ps(p, m, v)
#define TILE_VECTORS 2 /* 12 accumulators, 2 columns and a broadcast in 16 registers */
#define COLUMNS_AT_MOST 4

#include "level.h"
#endif
