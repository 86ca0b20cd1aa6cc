/* Chooses the kernels of the best CPU level this host has, or of the one asked for. */
#include <string.h>

#include "view.h"

static int host_has_avx2(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#else
    return 0;
#endif
}

static int host_has_avx512(void) {
#if defined(__x86_64__)
    return host_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return 0;
#endif
}

const kernels_t *ns_select_kernels(const char *name) {
    int any = !name || !*name;
#if defined(__x86_64__)
    if (host_has_avx512() && (any || !strcmp(name, "avx512"))) return &ns_kernels_avx512;
    if (host_has_avx2() && (any || !strcmp(name, "avx2"))) return &ns_kernels_avx2;
#endif
    return any || !strcmp(name, "baseline") ? &ns_kernels_baseline : 0;
}
