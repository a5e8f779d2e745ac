/* Depthwise convolutions. */

enum after {
    KEEP,             /* out = a + bias, a the convolution                                   */
    ADD,              /* out = a + bias + other                                              */
    TIMES,            /* out = a * other                                                     */
    GELU,             /* out = gelu(a)                                                       */
    GELU_BACKWARD,    /* out = gelu(a), and other, the gradient of that, becomes that of a    */
    TIMES_GELU_SLOPE, /* out = a * gelu'(other): back through a GELU                         */
    GATE,             /* out = sigmoid(a) * other, other with one channel                    */
};

#define STRIP 8 /* rows at least, of the parts of an image */

typedef struct { const float *in, *weight, *bias; float *out, *other; long B, H, W, d; } Depthwise;

/* Row y between margins of zeros, channels filled up to `groups` vectors: [column][group][LANES]. */
INLINE void take_row(float *row, const Depthwise *c, long image, long y, long groups, int r)
{
    long W = c->W, d = c->d, pixel = groups * LANES;
    if (y < 0 || y >= c->H) { memset(row, 0, (W + 2 * r) * pixel * sizeof(float)); return; }
    const float *p = c->in + (image * c->H + y) * W * d;
    memset(row, 0, r * pixel * sizeof(float));
    memset(row + (r + W) * pixel, 0, r * pixel * sizeof(float));
    for (long x = 0; x < W; x++)
        for (long first = 0; first < d; first += LANES)
            *(vec *)(row + (r + x) * pixel + first) = load(p + x * d + first, d - first);
}

INLINE void finish(const Depthwise *c, long pixel, long first, long n, vec a, vec bias, enum after after)
{
    float *out = c->out + pixel * c->d + first, *other = c->other + (after == GATE ? pixel : pixel * c->d + first);
    switch (after) {
    case KEEP: a += bias; break;
    case ADD: a += bias + load(other, n); break;
    case TIMES: a *= load(other, n); break;
    case GELU: a = gelu(a); break;
    case GELU_BACKWARD: store(other, load(other, n) * gelu_slope(a), n); a = gelu(a); break;
    case TIMES_GELU_SLOPE: a *= gelu_slope(load(other, n)); break;
    case GATE: a = sigmoid(a) * *other; break;
    }
    store(out, a, n);
}

/* T neighbouring pixels of a row, one group of channels, from the k rows above and below; weights [tap][LANES]. */
INLINE void row_part(const int k, const int T, const Depthwise *c, float *const *rows, const float *weights, long x,
                     long pixel, long first, long groups, vec bias, enum after after)
{
    vec a[T];
    for (int t = 0; t < T; t++) a[t] = (vec){};
    for (int i = 0; i < k; i++) {
        const float *row = rows[i] + x * groups * LANES + first;
        const vec *w = (const vec *)weights + i * k;
#pragma GCC unroll 32
        for (int j = 0; j < T + k - 1; j++) {
            vec v = *(const vec *)(row + j * groups * LANES);
#pragma GCC unroll 32
            for (int t = 0; t < T; t++)
                if (j - t >= 0 && j - t < k) a[t] += w[j - t] * v;
        }
    }
    for (int t = 0; t < T; t++) finish(c, pixel + t, first, least(c->d - first, LANES), a[t], bias, after);
}

/* Columns left .. right - 1 of a row, all channels; the first of them is number `pixel` of what is written. */
INLINE void row_range(const int k, const Depthwise *c, float *const *rows, const float *weights, long left, long right,
                      long pixel, enum after after)
{
    const int T = 8;
    long d = c->d, groups = round_up(d) / LANES;
    for (long x = left; x < right; x += x + T <= right ? T : 1)
        for (long first = 0; first < d; first += LANES) {
            vec bias = c->bias ? load(c->bias + first, d - first) : (vec){};
            const float *w = weights + first * k * k;
            if (x + T <= right) row_part(k, T, c, rows, w, x, pixel + x - left, first, groups, bias, after);
            else row_part(k, 1, c, rows, w, x, pixel + x - left, first, groups, bias, after);
        }
}

/* Weights (d,k,k) as [group][tap][LANES]. */
static void take_taps(const float *weight, float *taps, long d, long count)
{
    memset(taps, 0, round_up(d) * count * sizeof(float));
    for (long i = 0; i < d; i++)
        for (long tap = 0; tap < count; tap++)
            taps[(i / LANES * count + tap) * LANES + i % LANES] = weight[i * count + tap];
}

/* Rows top .. bottom - 1 of one image. */
INLINE void depthwise_part(const int k, const Depthwise *c, long image, long top, long bottom, enum after after,
                           float *space)
{
    const int r = k / 2;
    long W = c->W, pitch = round_up(c->d), length = (W + 2 * r) * pitch;
    float *taps = space, *ring = space + pitch * k * k, *rows[11];
    take_taps(c->weight, taps, c->d, k * k);
    for (long y = top - r; y < bottom + r; y++) {
        take_row(ring + (y + k) % k * length, c, image, y, pitch / LANES, r);
        if (y < top + r) continue;
        for (int i = 0; i < k; i++) rows[i] = ring + (y - 2 * r + i + k) % k * length;
        row_range(k, c, rows, taps, 0, W, (image * c->H + y - r) * W, after);
    }
}

static void depthwise_of(long k, const Depthwise *c, long image, long top, long bottom, float *space)
{
    if (k == 3 && !c->other) depthwise_part(3, c, image, top, bottom, KEEP, space);
    else if (k == 3) depthwise_part(3, c, image, top, bottom, ADD, space);
    else if (k == 5) depthwise_part(5, c, image, top, bottom, KEEP, space);
    else depthwise_part(11, c, image, top, bottom, KEEP, space);
}

/* Parts of each image that a parallel loop shares: enough for all threads, also if some are late. */
INLINE long strips_of(long B, long H)
{
    long threads = omp_get_max_threads();
    return threads == 1 ? 1 : most(1, least(H / STRIP, 4 * threads / B));
}

/* A k x k convolution of each channel, k = 3, 5 or 11, with zeros around the image; in, out (B,H,W,d), weight (d,k,k). With
   k = 3 plus `other`, where there is one. */
void depthwise(const float *in, const float *weight, const float *bias, float *out, float *other, long B, long H, long W,
               long d, long k)
{
    Depthwise c = {in, weight, bias, out, other, B, H, W, d};
    long strips = strips_of(B, H);
#pragma omp parallel
    {
        float *space = room(round_up(d) * k * (k + W + 2 * (k / 2)));
#pragma omp for collapse(2) schedule(dynamic)
        for (long image = 0; image < B; image++)
            for (long s = 0; s < strips; s++)
                depthwise_of(k, &c, image, H * s / strips, H * (s + 1) / strips, space);
        free(space);
    }
}

/* Sums over a row of gradient times input, at the shifts (i, 0 .. k - 1), added to `total` [shift][LANES]. */
INLINE void shifts(const int k, const int rows, float *const *in, const float *gradient, long W, long pixel, vec *total)
{
    vec a[rows * k];
#pragma GCC unroll 32
    for (int i = 0; i < rows * k; i++) a[i] = (vec){};
    for (long x = 0; x < W; x++) {
        vec g = *(const vec *)(gradient + x * pixel);
#pragma GCC unroll 32
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 32
            for (int j = 0; j < k; j++) a[i * k + j] += g * *(const vec *)(in[i] + (x + j) * pixel);
    }
#pragma GCC unroll 32
    for (int i = 0; i < rows * k; i++) total[i] += a[i];
}

INLINE void gradient_part(const int k, const Depthwise *c, const float *gradient, float *out, long image, long top,
                          long bottom, float *space)
{
    const int r = k / 2;
    long W = c->W, d = c->d, groups = (d + LANES - 1) / LANES, pixel = groups * LANES, length = (W + 2 * r) * pixel;
    float *line = space, *ring = line + W * pixel, *total = ring + k * length, *rows[11];
    memset(total, 0, pixel * k * k * sizeof(float));
    Depthwise g = *c;
    g.in = gradient;
    for (long y = top - r; y < bottom + r; y++) {
        take_row(ring + (y + k) % k * length, c, image, y, groups, r);
        if (y < top + r) continue;
        take_row(line, &g, image, y - r, groups, 0);
        for (long first = 0; first < d; first += LANES) {
            vec *sums = (vec *)(total + first * k * k);
            for (int i = 0; i < k; i++) rows[i] = ring + (y - 2 * r + i + k) % k * length + first;
            if (k * k < REGISTERS) shifts(k, k, rows, line + first, W, pixel, sums);
            else for (int i = 0; i < k; i++) shifts(k, 1, rows + i, line + first, W, pixel, sums + i * k);
        }
    }
    for (long i = 0; i < d; i++)
        for (int tap = 0; tap < k * k; tap++)
            out[i * k * k + tap] = total[(i / LANES * k * k + tap) * LANES + i % LANES];
}

/* Gradient of the weights of `depthwise` for each of `strips` parts of each image: out (B,strips,d,k,k). */
void depthwise_weight_gradient(const float *in, const float *gradient, float *out, long B, long H, long W, long d, long k,
                               long strips)
{
    Depthwise c = {in, 0, 0, 0, 0, B, H, W, d};
#pragma omp parallel
    {
        float *space = room(round_up(d) * (W + k * (W + 2 * (k / 2)) + k * k));
#pragma omp for collapse(2) schedule(dynamic)
        for (long image = 0; image < B; image++)
            for (long s = 0; s < strips; s++) {
                long top = H * s / strips, bottom = H * (s + 1) / strips;
                float *to = out + (image * strips + s) * d * k * k;
                if (k == 3) gradient_part(3, &c, gradient, to, image, top, bottom, space);
                else if (k == 5) gradient_part(5, &c, gradient, to, image, top, bottom, space);
                else gradient_part(11, &c, gradient, to, image, top, bottom, space);
            }
        free(space);
    }
}
