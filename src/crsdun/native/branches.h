/* The residual branches of the networks, each as a whole, for inference: out = in + layer(norm(in)).

   A few rows at a time go through all steps of a branch, so that what is between them stays in the cache. Between steps,
   pixels have their channels filled up with zeros to whole vectors. in, out (B,H,W,d), which must not overlap. */

/* Of each pixel where there is no `mean`: weight and bias. Else of each channel of each image, (B,d) each: x -> (x - mean)
   scale + shift. Nothing where there is no `scale`. */
typedef struct { const float *mean, *scale, *shift; } Norm;

/* n pixels of an image, filled up: [pixel][round_up(d)]. */
INLINE void normalise(const Norm *norm, long image, const float *in, long n, long d, float *out)
{
    long pitch = round_up(d);
    if (!norm->scale) take_pixels(in, n, d, out);
    else if (norm->mean) {
        const float *mean = norm->mean + image * d, *scale = norm->scale + image * d, *shift = norm->shift + image * d;
        for (long i = 0; i < n; i++)
            for (long j = 0; j < d; j += LANES)
                *(vec *)(out + i * pitch + j) = (load(in + i * d + j, d - j) - load(mean + j, d - j))
                    * load(scale + j, d - j) + load(shift + j, d - j);
    } else {
        for (long i = 0; i < n; i++) {
            *(vec *)(out + i * pitch + pitch - LANES) = (vec){};
            normalise_pixel(in + i * d, norm->scale, norm->shift, out + i * pitch, d);
        }
    }
}

/* FFN: 1x1 to 4d, GELU, 3x3 of each channel, GELU, 1x1. Without a scale there is no norm and no sum: out = layer(in). */
void feed_forward(const float *in, const float *mean, const float *scale, const float *shift, const float *widen,
                  const float *mix, const float *narrow, float *out, long B, long H, long W, long d)
{
    long e = 4 * d, pitch = round_up(d), wide = round_up(e), length = (W + 2) * wide, strips = strips_of(B, H);
    Norm norm = {mean, scale, shift};
    Projection up = take_projection(widen, 0, d, e, 1), down = take_projection(narrow, 0, e, d, 1);
    float *taps = room(9 * wide);
    take_taps(mix, taps, e, 9);
#pragma omp parallel
    {
        float *part = room(CHUNK * (2 * pitch + wide) + 3 * length), *update = part + CHUNK * pitch,
              *inner = update + CHUNK * pitch, *ring = inner + CHUNK * wide, *rows[3];
        Depthwise c = {.out = inner, .d = wide};
        memset(ring, 0, 3 * length * sizeof(float));
#pragma omp for collapse(2) schedule(dynamic)
        for (long image = 0; image < B; image++)
            for (long s = 0; s < strips; s++) {
                long top = H * s / strips, bottom = H * (s + 1) / strips;
                for (long y = top - 1; y <= bottom; y++) {
                    float *line = ring + (y + 3) % 3 * length + wide;
                    if (y < 0 || y >= H) memset(line, 0, W * wide * sizeof(float));
                    else for (long x = 0; x < W; x += CHUNK) {
                        long n = least(CHUNK, W - x);
                        normalise(&norm, image, in + ((image * H + y) * W + x) * d, n, d, part);
                        project(&up, n, part, pitch, line + x * wide);
                        for (long i = x * wide; i < (x + n) * wide; i += LANES) *(vec *)(line + i) = gelu(*(vec *)(line + i));
                    }
                    if (y < top + 1) continue;
                    rows_around(3, ring, length, y - 1, rows);
                    for (long x = 0; x < W; x += CHUNK) {
                        long n = least(CHUNK, W - x), start = ((image * H + y - 1) * W + x) * d;
                        row_range(3, &c, rows, taps, x, x + n, 0, GELU);
                        project(&down, n, inner, wide, update);
                        add_update(scale ? in + start : 0, update, out + start, n, d);
                    }
                }
            }
        free(part);
    }
    free(taps);
    leave_projection(up);
    leave_projection(down);
}

/* Gradients of the FFN of `in` (B,H,W,d): to_in, and for each of `strips` parts of each image those of the weights: to_widen
   (·,4d,d), to_mix (·,4d,3,3), to_narrow (·,4d,d), input by output. What is wide is computed again, in the cache: that
   takes no longer than to bring it back from memory.

   Row y is widened and put through its GELU; row y - 1 gets the gradient behind the convolution, as it then has its
   neighbours; row y - 2 gets the one before the convolution, for the same reason. */
void feed_forward_backward(const float *in, const float *gradient, const float *widen, const float *mix, const float *narrow,
                           float *to_in, float *to_widen, float *to_mix, float *to_narrow, long B,
                           long H, long W, long d, long strips)
{
    long e = 4 * d, pitch = round_up(d), wide = round_up(e), length = (W + 2) * wide;
    float *turned = room(9 * e), *taps = room(9 * wide), *taps_back = room(9 * wide);
    Projection up = take_projection(widen, 0, d, e, 1), back = take_transposed(narrow, e, d),
               back_again = take_transposed(widen, d, e);
    for (long i = 0; i < e; i++)
        for (int tap = 0; tap < 9; tap++) turned[i * 9 + tap] = mix[i * 9 + 8 - tap];
    take_taps(mix, taps, e, 9);
    take_taps(turned, taps_back, e, 9);
#pragma omp parallel
    {
        float *part = room(CHUNK * (2 * pitch + wide) + 9 * length + wide * (2 * pitch + 9)), *update = part + CHUNK * pitch,
              *inner = update + CHUNK * pitch, *before = inner + CHUNK * wide, *after = before + 3 * length,
              *flow = after + 3 * length, *sums = flow + 3 * length, *rows[3], *flows[3];
        float *widen_sums = sums, *narrow_sums = sums + wide * pitch, *mix_sums = narrow_sums + wide * pitch;
        memset(before, 0, 9 * length * sizeof(float));
#pragma omp for collapse(2) schedule(dynamic)
        for (long image = 0; image < B; image++)
            for (long s = 0; s < strips; s++) {
                long top = H * s / strips, bottom = H * (s + 1) / strips, number = image * strips + s;
                memset(sums, 0, wide * (2 * pitch + 9) * sizeof(float));
                for (long y = top - 2; y < bottom + 2; y++) {
                    float *raw = before + (y + 3) % 3 * length + wide, *line = after + (y + 3) % 3 * length + wide;
                    if (y < 0 || y >= H) memset(line, 0, W * wide * sizeof(float));
                    else for (long x = 0; x < W; x += CHUNK) {
                        long n = least(CHUNK, W - x);
                        take_pixels(in + ((image * H + y) * W + x) * d, n, d, part);
                        project(&up, n, part, pitch, raw + x * wide);
                        for (long i = x * wide; i < (x + n) * wide; i += LANES) *(vec *)(line + i) = gelu(*(vec *)(raw + i));
                    }

                    long z = y - 1;
                    float *to = flow + (z + 3) % 3 * length + wide;
                    if (z < top - 1) continue;
                    if (z < 0 || z >= H) memset(to, 0, W * wide * sizeof(float));
                    else {
                        rows_around(3, after, length, z, rows);
                        for (long x = 0; x < W; x += CHUNK) {
                            long n = least(CHUNK, W - x);
                            Depthwise c = {.out = inner, .other = to + x * wide, .d = wide};
                            take_pixels(gradient + ((image * H + z) * W + x) * d, n, d, part);
                            project(&back, n, part, pitch, to + x * wide);
                            row_range(3, &c, rows, taps, x, x + n, 0, GELU_BACKWARD);
                            if (z >= top && z < bottom) add_outer_products(e, pitch, n, inner, part, narrow_sums);
                        }
                        if (z >= top && z < bottom)
                            for (long first = 0; first < wide; first += LANES) {
                                for (int i = 0; i < 3; i++) flows[i] = rows[i] + first;
                                shifts(3, 3, flows, to + first, W, wide, (vec *)(mix_sums + first * 9));
                            }
                    }

                    long u = y - 2;
                    if (u < top || u >= bottom) continue;
                    rows_around(3, flow, length, u, flows);
                    for (long x = 0; x < W; x += CHUNK) {
                        long n = least(CHUNK, W - x), start = ((image * H + u) * W + x) * d;
                        Depthwise c = {.out = inner, .other = before + (u + 3) % 3 * length + (1 + x) * wide, .d = wide};
                        row_range(3, &c, flows, taps_back, x, x + n, 0, TIMES_GELU_SLOPE);
                        take_pixels(in + start, n, d, part);
                        add_outer_products(e, pitch, n, inner, part, widen_sums);
                        project(&back_again, n, inner, wide, update);
                        add_update(0, update, to_in + start, n, d);
                    }
                }
                copy_out(widen_sums, pitch, to_widen + number * e * d, e, d);
                copy_out(narrow_sums, pitch, to_narrow + number * e * d, e, d);
                for (long i = 0; i < e; i++)
                    for (int tap = 0; tap < 9; tap++)
                        to_mix[(number * e + i) * 9 + tap] = mix_sums[(i / LANES * 9 + tap) * LANES + i % LANES];
            }
        free(part);
    }
    free(turned);
    free(taps);
    free(taps_back);
    leave_projection(up);
    leave_projection(back);
    leave_projection(back_again);
}

/* CMB: (11x11 of each channel after 1x1) times (1x1), then 1x1. */
void convolutional_modulation(const float *in, const float *mean, const float *scale, const float *shift,
                              const float *context, const float *mix, const float *value, const float *last,
                              const float *bias, float *out, long B, long H, long W, long d)
{
    const int k = 11, r = 5;
    long pitch = round_up(d), length = (W + 2 * r) * pitch, strips = strips_of(B, H);
    Norm norm = {mean, scale, shift};
    Projection to_context = take_projection(context, 0, d, d, 1), to_value = take_projection(value, 0, d, d, 1),
               to_out = take_projection(last, bias, d, d, 1);
    float *taps = room(k * k * pitch);
    take_taps(mix, taps, d, k * k);
#pragma omp parallel
    {
        float *part = room(CHUNK * 3 * pitch + k * length), *values = part + CHUNK * pitch, *inner = values + CHUNK * pitch,
              *ring = inner + CHUNK * pitch, *rows[11];
        Depthwise c = {.out = inner, .other = values, .d = pitch};
        memset(ring, 0, k * length * sizeof(float));
#pragma omp for collapse(2) schedule(dynamic)
        for (long image = 0; image < B; image++)
            for (long s = 0; s < strips; s++) {
                long top = H * s / strips, bottom = H * (s + 1) / strips;
                for (long y = top - r; y < bottom + r; y++) {
                    float *line = ring + (y + k) % k * length + r * pitch;
                    if (y < 0 || y >= H) memset(line, 0, W * pitch * sizeof(float));
                    else for (long x = 0; x < W; x += CHUNK) {
                        long n = least(CHUNK, W - x);
                        normalise(&norm, image, in + ((image * H + y) * W + x) * d, n, d, part);
                        project(&to_context, n, part, pitch, line + x * pitch);
                    }
                    if (y < top + r) continue;
                    rows_around(k, ring, length, y - r, rows);
                    for (long x = 0; x < W; x += CHUNK) {
                        long n = least(CHUNK, W - x), start = ((image * H + y - r) * W + x) * d;
                        normalise(&norm, image, in + start, n, d, part);
                        project(&to_value, n, part, pitch, values);
                        row_range(k, &c, rows, taps, x, x + n, 0, TIMES);
                        project(&to_out, n, inner, pitch, part);
                        add_update(in + start, part, out + start, n, d);
                    }
                }
            }
        free(part);
    }
    free(taps);
    leave_projection(to_context);
    leave_projection(to_value);
    leave_projection(to_out);
}

/* SAB: h = 1x1; sigmoid(3x3 of each channel of h) times GELU(3x3 of h to one channel), then 1x1. */
void spatial_attention(const float *in, const float *mean, const float *scale, const float *shift, const float *hidden,
                       const float *gate, const float *map, const float *last, const float *bias, float *out, long B,
                       long H, long W, long d)
{
    long pitch = round_up(d), length = (W + 2) * pitch, strips = strips_of(B, H);
    Norm norm = {mean, scale, shift};
    Projection to_hidden = take_projection(hidden, 0, d, d, 1), to_out = take_projection(last, bias, d, d, 1);
    GateTaps taps = take_gate_taps(gate, map, d);
#pragma omp parallel
    {
        float *part = room(CHUNK * (2 * pitch + 1) + 3 * length + LANES), *inner = part + CHUNK * pitch,
              *ring = inner + CHUNK * pitch, *maps = ring + 3 * length, *rows[3];
        memset(ring, 0, 3 * length * sizeof(float));
#pragma omp for collapse(2) schedule(dynamic)
        for (long image = 0; image < B; image++)
            for (long s = 0; s < strips; s++) {
                long top = H * s / strips, bottom = H * (s + 1) / strips;
                for (long y = top - 1; y <= bottom; y++) {
                    float *line = ring + (y + 3) % 3 * length + pitch;
                    if (y < 0 || y >= H) memset(line, 0, W * pitch * sizeof(float));
                    else for (long x = 0; x < W; x += CHUNK) {
                        long n = least(CHUNK, W - x);
                        normalise(&norm, image, in + ((image * H + y) * W + x) * d, n, d, part);
                        project(&to_hidden, n, part, pitch, line + x * pitch);
                    }
                    if (y < top + 1) continue;
                    rows_around(3, ring, length, y - 1, rows);
                    for (long x = 0; x < W; x += CHUNK) {
                        long n = least(CHUNK, W - x), start = ((image * H + y - 1) * W + x) * d;
                        gate_range(rows, &taps, pitch, x, n, maps, inner);
                        project(&to_out, n, inner, pitch, part);
                        add_update(in + start, part, out + start, n, d);
                    }
                }
            }
        free(part);
    }
    leave_gate_taps(taps);
    leave_projection(to_hidden);
    leave_projection(to_out);
}

/* Windows side by side that go through an attention together. */
#define WINDOWS 4

/* Attention in windows among pixels (heads > 0) or among channels (heads = 0), between two layers 1x1. */
void window_attention(const float *in, const float *mean, const float *scale, const float *shift, const float *qkv,
                      const float *qkv_bias, const float *position, const float *last, const float *bias, float *out,
                      long B, long H, long W, long d, long heads, float channel_scale)
{
    long pixels_wide = SIDE * WINDOWS, pitch = round_up(d), head = heads ? d / heads : d, width = round_up(head),
         parts = heads ? heads : 1, channels = 3 * parts * width;
    Norm norm = {mean, scale, shift};
    Projection to_qkv = take_projection(qkv, qkv_bias, d, head, 3 * parts), to_out = take_projection(last, bias, d, d, 1);
#pragma omp parallel
    {
        float *part = room(SIDE * pixels_wide * (channels + pitch + d) + pixels_wide * pitch
                           + most(room_for_pixels(head), room_for_channels(d)) + 4 * LANES),
              *features = part + SIDE * pixels_wide * channels, *mixed = features + SIDE * pixels_wide * pitch,
              *space = mixed + round_up(SIDE * pixels_wide * d);
#pragma omp for collapse(3) schedule(dynamic)
        for (long image = 0; image < B; image++)
            for (long top = 0; top < H; top += SIDE)
                for (long left = 0; left < W; left += pixels_wide) {
                    long n = least(pixels_wide, W - left), start = ((image * H + top) * W + left) * d;
                    for (long y = 0; y < SIDE; y++)
                        normalise(&norm, image, in + start + y * W * d, n, d, features + y * n * pitch);
                    project(&to_qkv, SIDE * n, features, pitch, part);
                    for (long x = 0; x < n; x += SIDE)
                        for (long h = 0; h < parts; h++) {
                            const float *q = part + x * channels + h * width, *k = q + parts * width, *v = k + parts * width;
                            float *to = mixed + x * d + h * head;
                            if (heads) attend_pixels(q, k, v, channels, position + h * PIXELS * PIXELS, to, d, n, head, space);
                            else attend_channels(q, k, v, channels, to, n, d, channel_scale, space);
                        }
                    project(&to_out, SIDE * n, mixed, d, features);
                    for (long y = 0; y < SIDE; y++)
                        add_update(in + start + y * W * d, features + y * n * pitch, out + start + y * W * d, n, d);
                }
        free(part);
    }
    leave_projection(to_qkv);
    leave_projection(to_out);
}
