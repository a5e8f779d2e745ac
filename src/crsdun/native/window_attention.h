/* Attention in windows of 8 x 8 pixels. */

#define SIDE 8
#define PIXELS 64

/* Where window i of an image of W columns and `channels` channels begins. */
INLINE long window_start(long i, long H, long W, long channels)
{
    long across = W / SIDE, down = H / SIDE, image = i / (across * down), row = i / across % down, column = i % across;
    return ((image * H + row * SIDE) * W + column * SIDE) * channels;
}

/* n channels of the 64 pixels of a window: [pixel][width], zeros behind the n-th. */
INLINE void gather(const float *p, long W, long channels, float *to, long width, long n)
{
    for (long i = 0; i < PIXELS; i++)
        for (long c = 0; c < width; c += LANES)
            *(vec *)(to + i * width + c) =
                c < n ? load(p + (i / SIDE * W + i % SIDE) * channels + c, n - c) : (vec){};
}

INLINE void scatter(const float *from, long width, float *p, long W, long channels, long n, float scale)
{
    for (long i = 0; i < PIXELS; i++)
        for (long c = 0; c < n; c += LANES)
            store(p + (i / SIDE * W + i % SIDE) * channels + c, *(const vec *)(from + i * width + c) * scale, n - c);
}

/* One head of one window among its pixels: q, k, v and out at its first pixel, rows of W pixels. */
INLINE void attend_pixels(const float *q, const float *k, const float *v, long channels, const float *bias, float *out,
                          long d, long W, long head, float *space)
{
    long width = round_up(head);
    float *qs = space, *ks = qs + PIXELS * width, *vs = ks + PIXELS * width, *turned = vs + PIXELS * width,
          *s = turned + PIXELS * width;
    gather(q, W, channels, qs, width, head);
    gather(k, W, channels, ks, width, head);
    gather(v, W, channels, vs, width, head);
    transpose(qs, width, turned, PIXELS, PIXELS, head);
    multiply(PIXELS, PIXELS, head, rows_of(ks, width), turned, PIXELS, s, PIXELS); /* of key and query */
    softmax_of_columns(s, PIXELS, PIXELS, 1 / __builtin_sqrtf((float)head), bias);
    multiply(PIXELS, width, PIXELS, columns_of(s, PIXELS), vs, width, qs, width);
    scatter(qs, width, out, W, d, head, 1);
}

/* Floats of room that this needs. */
INLINE long room_for_pixels(long head) { return PIXELS * (4 * round_up(head) + PIXELS); }

/* Among the pixels of each window, for each head of `head` channels.

   qkv (B,H,W,3 heads head); bias (heads,64,64), of key and query; out (B,H,W,heads head). */
void pixel_attention(const float *qkv, const float *bias, float *out, long B, long H, long W, long heads, long head)
{
    long d = heads * head, windows = B * (H / SIDE) * (W / SIDE);
#pragma omp parallel
    {
        float *space = room(room_for_pixels(head));
#pragma omp for schedule(dynamic, 8)
        for (long i = 0; i < windows; i++)
            for (long h = 0; h < heads; h++) {
                const float *p = qkv + window_start(i, H, W, 3 * d) + h * head;
                attend_pixels(p, p + d, p + 2 * d, 3 * d, bias + h * PIXELS * PIXELS,
                              out + window_start(i, H, W, d) + h * head, d, W, head, space);
            }
        free(space);
    }
}

/* Its gradients: to_qkv, and that of the bias for each of `parts` parts of the windows, to_bias (parts,heads,64,64). */
void pixel_attention_backward(const float *qkv, const float *bias, const float *gradient, float *to_qkv, float *to_bias,
                              long B, long H, long W, long heads, long head, long parts)
{
    long width = round_up(head), d = heads * head, windows = B * (H / SIDE) * (W / SIDE), square = PIXELS * PIXELS;
    float scale = 1 / __builtin_sqrtf((float)head);
    memset(to_bias, 0, parts * heads * square * sizeof(float));
#pragma omp parallel
    {
        float *q = room(6 * PIXELS * width + 2 * square), *k = q + PIXELS * width, *v = k + PIXELS * width,
              *g = v + PIXELS * width, *turned = g + PIXELS * width, *result = turned + PIXELS * width,
              *s = result + PIXELS * width, *to_s = s + square;
#pragma omp for schedule(dynamic)
        for (long part = 0; part < parts; part++)
            for (long i = windows * part / parts; i < windows * (part + 1) / parts; i++)
                for (long h = 0; h < heads; h++) {
                    long start = window_start(i, H, W, 3 * d) + h * head;
                    const float *p = qkv + start;
                    float *to = to_qkv + start, *sums = to_bias + (part * heads + h) * square;
                    gather(p, W, 3 * d, q, width, head);
                    gather(p + d, W, 3 * d, k, width, head);
                    gather(p + 2 * d, W, 3 * d, v, width, head);
                    gather(gradient + window_start(i, H, W, d) + h * head, W, d, g, width, head);
                    transpose(q, width, turned, PIXELS, PIXELS, head);
                    multiply(PIXELS, PIXELS, head, rows_of(k, width), turned, PIXELS, s, PIXELS);
                    softmax_of_columns(s, PIXELS, PIXELS, scale, bias + h * square);
                    transpose(g, width, turned, PIXELS, PIXELS, head);
                    multiply(PIXELS, PIXELS, head, rows_of(v, width), turned, PIXELS, to_s, PIXELS);
                    softmax_of_columns_backward(s, to_s, PIXELS, PIXELS);
                    for (long j = 0; j < square; j += LANES) *(loose *)(sums + j) += *(vec *)(to_s + j);
                    multiply(PIXELS, width, PIXELS, columns_of(to_s, PIXELS), k, width, result, width);
                    scatter(result, width, to, W, 3 * d, head, scale);
                    multiply(PIXELS, width, PIXELS, rows_of(to_s, PIXELS), q, width, result, width);
                    scatter(result, width, to + d, W, 3 * d, head, scale);
                    multiply(PIXELS, width, PIXELS, rows_of(s, PIXELS), g, width, result, width);
                    scatter(result, width, to + 2 * d, W, 3 * d, head, 1);
                }
        free(q);
    }
}

/* One window among its d channels. */
INLINE void attend_channels(const float *q, const float *k, const float *v, long channels, float *out, long W, long d,
                            float scale, float *space)
{
    long width = round_up(d);
    float *qs = space, *ks = qs + PIXELS * width, *vs = ks + PIXELS * width, *s = vs + PIXELS * width;
    gather(q, W, channels, qs, width, d);
    gather(k, W, channels, ks, width, d);
    gather(v, W, channels, vs, width, d);
    multiply(d, width, PIXELS, columns_of(ks, width), qs, width, s, width); /* of key channel and query channel */
    softmax_of_columns(s, d, width, scale, 0);
    multiply(PIXELS, width, d, rows_of(vs, width), s, width, qs, width);
    scatter(qs, width, out, W, d, d, 1);
}

INLINE long room_for_channels(long d) { return round_up(d) * (3 * PIXELS + round_up(d)); }

/* Among the channels of each window, each as long as the window has pixels: qkv (B,H,W,3d), out (B,H,W,d). */
void channel_attention(const float *qkv, float *out, long B, long H, long W, long d, float scale)
{
    long windows = B * (H / SIDE) * (W / SIDE);
#pragma omp parallel
    {
        float *space = room(room_for_channels(d));
#pragma omp for schedule(dynamic, 8)
        for (long i = 0; i < windows; i++) {
            const float *p = qkv + window_start(i, H, W, 3 * d);
            attend_channels(p, p + d, p + 2 * d, 3 * d, out + window_start(i, H, W, d), W, d, scale, space);
        }
        free(space);
    }
}

void channel_attention_backward(const float *qkv, const float *gradient, float *to_qkv, long B, long H, long W, long d,
                                float scale)
{
    long width = round_up(d), windows = B * (H / SIDE) * (W / SIDE);
#pragma omp parallel
    {
        float *q = room(5 * PIXELS * width + 3 * width * width), *k = q + PIXELS * width, *v = k + PIXELS * width,
              *g = v + PIXELS * width, *result = g + PIXELS * width, *s = result + PIXELS * width,
              *to_s = s + width * width, *turned = to_s + width * width;
        memset(turned, 0, width * width * sizeof(float));
#pragma omp for schedule(dynamic, 8)
        for (long i = 0; i < windows; i++) {
            long start = window_start(i, H, W, 3 * d);
            const float *p = qkv + start;
            float *to = to_qkv + start;
            gather(p, W, 3 * d, q, width, d);
            gather(p + d, W, 3 * d, k, width, d);
            gather(p + 2 * d, W, 3 * d, v, width, d);
            gather(gradient + window_start(i, H, W, d), W, d, g, width, d);
            multiply(d, width, PIXELS, columns_of(k, width), q, width, s, width);
            softmax_of_columns(s, d, width, scale, 0);
            multiply(d, width, PIXELS, columns_of(v, width), g, width, to_s, width);
            transpose(s, width, turned, width, d, d);
            multiply(PIXELS, width, d, rows_of(g, width), turned, width, result, width);
            scatter(result, width, to + 2 * d, W, 3 * d, d, 1);
            softmax_of_columns_backward(s, to_s, d, width);
            multiply(PIXELS, width, d, rows_of(k, width), to_s, width, result, width);
            scatter(result, width, to, W, 3 * d, d, scale);
            transpose(to_s, width, turned, width, d, d);
            multiply(PIXELS, width, d, rows_of(q, width), turned, width, result, width);
            scatter(result, width, to + d, W, 3 * d, d, scale);
        }
        free(q);
    }
}
