/* Small matrix products. */

/* Element (i, t) of a matrix is at p[i * row + t * column]. */
typedef struct { const float *p; long row, column; } Matrix;

INLINE void tile(const int m, const int n, long K, Matrix a, const float *b, long ldb, const float *start,
                 long lds, float *c, long ldc)
{
    vec sums[m][n];
#pragma GCC unroll 12
    for (int i = 0; i < m; i++)
#pragma GCC unroll 12
        for (int j = 0; j < n; j++) sums[i][j] = start ? *(const vec *)(start + i * lds + j * LANES) : all(0);
    for (long t = 0; t < K; t++) {
#pragma GCC unroll 12
        for (int i = 0; i < m; i++) {
            float value = a.p[i * a.row + t * a.column];
#pragma GCC unroll 12
            for (int j = 0; j < n; j++) sums[i][j] += value * *(const vec *)(b + t * ldb + j * LANES);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < m; i++)
#pragma GCC unroll 12
        for (int j = 0; j < n; j++) *(vec *)(c + i * ldc + j * LANES) = sums[i][j];
}

INLINE Matrix below(Matrix a, long i) { return (Matrix){a.p + i * a.row, a.row, a.column}; }

/* Rows of c in blocks of m, then of 4, then one by one. */
INLINE void columns(const int m, const int n, long M, long K, Matrix a, const float *b, long ldb, const float *start,
                    long lds, float *c, long ldc)
{
    long i = 0;
    for (; i + m <= M; i += m) tile(m, n, K, below(a, i), b, ldb, start ? start + i * lds : 0, lds, c + i * ldc, ldc);
    for (; i + 4 <= M; i += 4) tile(4, n, K, below(a, i), b, ldb, start ? start + i * lds : 0, lds, c + i * ldc, ldc);
    for (; i < M; i++) tile(1, n, K, below(a, i), b, ldb, start ? start + i * lds : 0, lds, c + i * ldc, ldc);
}

/* c (M,N) = start + a (M,K) b (K,N); N a multiple of LANES, rows of b and c aligned. `start` is a bias (lds = 0), c itself
   (lds = ldc) or nothing. */
static void add_product(long M, long N, long K, Matrix a, const float *b, long ldb, const float *start, long lds, float *c,
                        long ldc)
{
    long j = 0;
    /* As many sums at once as there are registers for, less those for a row of b and a value of a. */
#if REGISTERS == 32
    for (; j + 4 * LANES <= N; j += 4 * LANES) columns(6, 4, M, K, a, b + j, ldb, start ? start + j : 0, lds, c + j, ldc);
    if (N - j == 3 * LANES) columns(8, 3, M, K, a, b + j, ldb, start ? start + j : 0, lds, c + j, ldc);
    if (N - j == 2 * LANES) columns(12, 2, M, K, a, b + j, ldb, start ? start + j : 0, lds, c + j, ldc);
#else
    for (; j + 2 * LANES <= N; j += 2 * LANES) columns(6, 2, M, K, a, b + j, ldb, start ? start + j : 0, lds, c + j, ldc);
#endif
    if (N - j == LANES) columns(12, 1, M, K, a, b + j, ldb, start ? start + j : 0, lds, c + j, ldc);
}

INLINE void multiply(long M, long N, long K, Matrix a, const float *b, long ldb, float *c, long ldc)
{
    add_product(M, N, K, a, b, ldb, 0, 0, c, ldc);
}

INLINE Matrix rows_of(const float *p, long ld) { return (Matrix){p, ld, 1}; }
INLINE Matrix columns_of(const float *p, long ld) { return (Matrix){p, 1, ld}; }

/* b (N, at least M wide, ldb) = transpose of a (M,N, lda). */
INLINE void transpose(const float *a, long lda, float *b, long ldb, long M, long N)
{
    for (long i = 0; i < M; i++)
        for (long j = 0; j < N; j++) b[j * ldb + i] = a[i * lda + j];
}

/* Each column of s (M,N) becomes its softmax; N a multiple of LANES. */
INLINE void softmax_of_columns(float *s, long M, long N, float scale, const float *bias)
{
    for (long j = 0; j < N; j += LANES) {
        vec top = all(-3e38f), total = {};
        for (long i = 0; i < M; i++) {
            vec *v = (vec *)(s + i * N + j);
            *v *= scale;
            if (bias) *v += *(const loose *)(bias + i * N + j);
            top = higher(top, *v);
        }
        for (long i = 0; i < M; i++) {
            vec *v = (vec *)(s + i * N + j);
            *v = exponential(*v - top);
            total += *v;
        }
        total = 1.0f / total;
        for (long i = 0; i < M; i++) *(vec *)(s + i * N + j) *= total;
    }
}

/* to_s: the gradient of a softmax over columns becomes that of its argument. */
INLINE void softmax_of_columns_backward(const float *s, float *to_s, long M, long N)
{
    for (long j = 0; j < N; j += LANES) {
        vec total = {};
        for (long i = 0; i < M; i++) total += *(const vec *)(s + i * N + j) * *(const vec *)(to_s + i * N + j);
        for (long i = 0; i < M; i++) {
            vec *v = (vec *)(to_s + i * N + j);
            *v = *(const vec *)(s + i * N + j) * (*v - total);
        }
    }
}
