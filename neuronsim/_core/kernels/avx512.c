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
#define VADD(a, b) _mm512_add_ps(a, b)
#define VCANONICAL(v) \
    _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000)))
typedef __mmask16 mask_t;
#define VMASK(n) ((mask_t)((1u << (n)) - 1)) /* the first n lanes */
#define VLOADM(p, m) _mm512_maskz_loadu_ps(m, p)
#define VSTOREM(p, m, v) _mm512_mask_storeu_ps(p, m, v)
#define TILE_VECTORS 3 /* 24 accumulators, 3 columns and a broadcast in 32 registers */
#define COLUMNS_AT_MOST 8

#include "level.h"
#endif
