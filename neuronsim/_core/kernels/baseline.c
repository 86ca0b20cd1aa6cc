/* Kernels for any CPU: without a certain FMA instruction, products and sums in float64, exactly rounded. */
#include "view.h"

#define LEVEL baseline
#define ROWS 8
#define HAVE_FMA 0
#define VEC 16
#define TILE_VECTORS 1
#define COLUMNS_AT_MOST 0

#include "level.h"
