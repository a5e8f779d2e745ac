/* Super-tokens. */

/* Cells of h x h pixels, one token each; a pixel belongs to the 3 x 3 tokens around it. Tokens are (B,H/h,W/h,d). */
#define AROUND 9
#define AROUND_WIDE ((AROUND + LANES - 1) / LANES * LANES)

typedef struct { long B, H, W, d, h; } Cells;

/* Where cell i begins, in pixels. */
INLINE long cell_start(const Cells *c, long i)
{
    long across = c->W / c->h, down = c->H / c->h, image = i / (across * down);
    return (image * c->H + i / across % down * c->h) * c->W + i % across * c->h;
}

/* n values of each pixel of a cell: [pixel][width], zeros behind the n-th. */
INLINE void take_cell(const Cells *c, const float *p, long n, float *to, long width)
{
    for (long y = 0; y < c->h; y++)
        for (long x = 0; x < c->h; x++, to += width)
            for (long j = 0; j < width; j += LANES)
                *(vec *)(to + j) = load(p + (y * c->W + x) * n + j, n - j);
}

INLINE void put_cell(const Cells *c, const float *from, long width, float *p, long n)
{
    for (long y = 0; y < c->h; y++)
        for (long x = 0; x < c->h; x++, from += width)
            for (long j = 0; j < n; j += LANES) store(p + (y * c->W + x) * n + j, *(const vec *)(from + j), n - j);
}

/* The token at place k of those around cell i; -1 outside the image. */
INLINE long neighbour(const Cells *c, long i, long k)
{
    long across = c->W / c->h, down = c->H / c->h, row = i / across % down + k / 3 - 1, column = i % across + k % 3 - 1;
    if (row < 0 || row >= down || column < 0 || column >= across) return -1;
    return i + (k / 3 - 1) * across + k % 3 - 1;
}

/* The first 9 values of a row become their softmax; what is behind them is lost. */
INLINE void softmax_around(float *row, float scale)
{
    for (long j = 0; j < AROUND_WIDE; j += LANES) *(vec *)(row + j) *= scale;
    float top = row[0];
    for (int k = 1; k < AROUND; k++) top = row[k] > top ? row[k] : top;
    vec total = {};
    for (long j = 0; j < AROUND_WIDE; j += LANES) {
        *(vec *)(row + j) = exponential(*(vec *)(row + j) - top);
        total += load(row + j, AROUND - j);
    }
    float whole = sum(total);
    for (long j = 0; j < AROUND_WIDE; j += LANES) *(vec *)(row + j) /= whole;
}

/* How much each pixel belongs to each token around it, (B,H,W,9): the softmax of the products of in and tokens. */
void associate(const float *in, const float *tokens, float *q, long B, long H, long W, long d, long h, float scale)
{
    Cells c = {B, H, W, d, h};
    long width = round_up(d), pixels = h * h, cells = B * (H / h) * (W / h);
#pragma omp parallel
    {
        float *x = room(pixels * (width + AROUND_WIDE) + d * AROUND_WIDE), *around = x + pixels * width,
              *s = around + d * AROUND_WIDE;
#pragma omp for schedule(dynamic, 8)
        for (long i = 0; i < cells; i++) {
            take_cell(&c, in + cell_start(&c, i) * d, d, x, width);
            memset(around, 0, d * AROUND_WIDE * sizeof(float));
            for (long k = 0; k < AROUND; k++) {
                long token = neighbour(&c, i, k);
                if (token >= 0)
                    for (long j = 0; j < d; j++) around[j * AROUND_WIDE + k] = tokens[token * d + j];
            }
            multiply(pixels, AROUND_WIDE, d, rows_of(x, width), around, AROUND_WIDE, s, AROUND_WIDE);
            for (long p = 0; p < pixels; p++) softmax_around(s + p * AROUND_WIDE, scale);
            put_cell(&c, s, AROUND_WIDE, q + cell_start(&c, i) * AROUND, AROUND);
        }
        free(x);
    }
}

/* Tokens: sums of q in over the pixels around, divided by `weights`, those of q, where they are wanted.

   parts (cells,9,d rounded up to 16 and 16 more) is room to work in. */
void gather_tokens(const float *in, const float *q, float *parts, float *tokens, float *weights, long B, long H, long W,
                   long d, long h)
{
    Cells c = {B, H, W, d, h};
    long width = round_up(d), whole = width + LANES, pixels = h * h, cells = B * (H / h) * (W / h);
#pragma omp parallel
    {
        float *x = room(pixels * (whole + AROUND_WIDE)), *s = x + pixels * whole;
#pragma omp for schedule(dynamic, 8)
        for (long i = 0; i < cells; i++) {
            take_cell(&c, in + cell_start(&c, i) * d, d, x, whole);
            for (long p = 0; p < pixels; p++) x[p * whole + width] = 1;
            take_cell(&c, q + cell_start(&c, i) * AROUND, AROUND, s, AROUND_WIDE);
            multiply(AROUND, whole, pixels, columns_of(s, AROUND_WIDE), x, whole, parts + i * AROUND * whole, whole);
        }
        free(x);
#pragma omp for schedule(dynamic, 64)
        for (long i = 0; i < cells; i++) {
            const float *from[AROUND];
            float weight = 0;
            int n = 0;
            for (long k = 0; k < AROUND; k++) {
                long cell = neighbour(&c, i, k); /* to which this one is the token at the opposite place */
                if (cell < 0) continue;
                from[n] = parts + (cell * AROUND + AROUND - 1 - k) * whole;
                weight += from[n++][width];
            }
            if (weights) weights[i] = weight + 1e-12f;
            for (long j = 0; j < d; j += LANES) {
                vec total = {};
                for (int k = 0; k < n; k++) total += *(const vec *)(from[k] + j);
                store(tokens + i * d + j, weights ? total / weights[i] : total, d - j);
            }
        }
    }
}

/* Pixels: sums of q tokens over the tokens around, divided by `weights` of the tokens where there are any. */
void spread_tokens(const float *tokens, const float *q, const float *weights, float *out, long B, long H, long W, long d,
                   long h)
{
    Cells c = {B, H, W, d, h};
    long width = round_up(d), pixels = h * h, cells = B * (H / h) * (W / h);
#pragma omp parallel
    {
        float *x = room(pixels * (width + AROUND_WIDE) + AROUND * width), *around = x + pixels * width,
              *s = around + AROUND * width;
#pragma omp for schedule(dynamic, 8)
        for (long i = 0; i < cells; i++) {
            for (long k = 0; k < AROUND; k++) {
                long token = neighbour(&c, i, k);
                for (long j = 0; j < width; j += LANES) {
                    vec v = {};
                    if (token >= 0) v = load(tokens + token * d + j, d - j);
                    *(vec *)(around + k * width + j) = weights && token >= 0 ? v / weights[token] : v;
                }
            }
            take_cell(&c, q + cell_start(&c, i) * AROUND, AROUND, s, AROUND_WIDE);
            multiply(pixels, width, AROUND, rows_of(s, AROUND_WIDE), around, width, x, width);
            put_cell(&c, x, width, out + cell_start(&c, i) * d, d);
        }
        free(x);
    }
}
