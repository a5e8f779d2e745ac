/* SAB between its layers 1x1: sigmoid(3x3 of each channel of h) times GELU(3x3 of h to one channel). */

typedef struct { float *gate, *map; } GateTaps;

INLINE GateTaps take_gate_taps(const float *gate, const float *map, long d)
{
    GateTaps taps = {room(9 * round_up(d)), room(9 * round_up(d))};
    take_taps(gate, taps.gate, d, 9);
    take_taps(map, taps.map, d, 9);
    return taps;
}

INLINE void leave_gate_taps(GateTaps taps)
{
    free(taps.gate);
    free(taps.map);
}

/* The one channel before its GELU: pixels left .. left + n - 1 of a row, room for whole vectors. */
INLINE void map_range(float *const *rows, const float *taps, long pitch, long left, long n, float *maps)
{
    for (long i = 0; i < n; i++) {
        vec total = {};
        for (int tap = 0; tap < 9; tap++)
            for (long j = 0; j < pitch; j += LANES)
                total += *(vec *)(rows[tap / 3] + (left + i + tap % 3) * pitch + j) * *(vec *)(taps + 9 * j + tap * LANES);
        maps[i] = sum(total);
    }
}

/* The k rows around row y of a ring of k rows. */
INLINE void rows_around(const int k, float *ring, long length, long y, float **rows)
{
    for (int i = 0; i < k; i++) rows[i] = ring + (y - k / 2 + i + k) % k * length;
}

/* n pixels with their maps before the GELU; inner [pixel][round_up(d)]. */
INLINE void gate_range(float *const *rows, const GateTaps *taps, long pitch, long left, long n, float *maps, float *inner)
{
    map_range(rows, taps->map, pitch, left, n, maps);
    for (long i = 0; i < n; i += LANES) *(loose *)(maps + i) = gelu(*(loose *)(maps + i));
    Depthwise c = {.out = inner, .other = maps, .d = pitch};
    row_range(3, &c, rows, taps->gate, left, left + n, 0, GATE);
}

/* h, out (B,H,W,d). */
void spatial_gate(const float *h, const float *gate, const float *map, float *out, long B, long H, long W, long d)
{
    long pitch = round_up(d), length = (W + 2) * pitch, strips = strips_of(B, H);
    GateTaps taps = take_gate_taps(gate, map, d);
    Depthwise in = {.in = h, .H = H, .W = W, .d = d};
#pragma omp parallel
    {
        float *inner = room(CHUNK * (pitch + 1) + LANES + 3 * length), *ring = inner + CHUNK * pitch,
              *maps = ring + 3 * length, *rows[3];
#pragma omp for collapse(2) schedule(dynamic)
        for (long image = 0; image < B; image++)
            for (long s = 0; s < strips; s++) {
                long top = H * s / strips, bottom = H * (s + 1) / strips;
                for (long y = top - 1; y <= bottom; y++) {
                    take_row(ring + (y + 3) % 3 * length, &in, image, y, pitch / LANES, 1);
                    if (y < top + 1) continue;
                    rows_around(3, ring, length, y - 1, rows);
                    for (long x = 0; x < W; x += CHUNK) {
                        long n = least(CHUNK, W - x);
                        gate_range(rows, &taps, pitch, x, n, maps, inner);
                        add_update(0, inner, out + ((image * H + y - 1) * W + x) * d, n, d);
                    }
                }
            }
        free(inner);
    }
    leave_gate_taps(taps);
}

/* Gradients behind the two convolutions of h: to_gate (B,H,W,d) and to_map (B,H,W). */
void spatial_gate_backward(const float *h, const float *gate, const float *map, const float *gradient, float *to_gate,
                           float *to_map, long B, long H, long W, long d)
{
    long pitch = round_up(d), length = (W + 2) * pitch, strips = strips_of(B, H);
    GateTaps taps = take_gate_taps(gate, map, d);
    Depthwise in = {.in = h, .H = H, .W = W, .d = d};
#pragma omp parallel
    {
        float *inner = room(CHUNK * (pitch + 1) + LANES + 3 * length), *ring = inner + CHUNK * pitch,
              *maps = ring + 3 * length, *rows[3];
        Depthwise c = {.out = inner, .d = pitch};
#pragma omp for collapse(2) schedule(dynamic)
        for (long image = 0; image < B; image++)
            for (long s = 0; s < strips; s++) {
                long top = H * s / strips, bottom = H * (s + 1) / strips;
                for (long y = top - 1; y <= bottom; y++) {
                    take_row(ring + (y + 3) % 3 * length, &in, image, y, pitch / LANES, 1);
                    if (y < top + 1) continue;
                    rows_around(3, ring, length, y - 1, rows);
                    for (long x = 0; x < W; x += CHUNK) {
                        long n = least(CHUNK, W - x), start = (image * H + y - 1) * W + x;
                        map_range(rows, taps.map, pitch, x, n, maps);
                        row_range(3, &c, rows, taps.gate, x, x + n, 0, KEEP);
                        for (long i = 0; i < n; i++) {
                            vec total = {}, m = all(maps[i]);
                            float value = gelu(m)[0], slope = gelu_slope(m)[0];
                            for (long j = 0; j < d; j += LANES) {
                                long p = (start + i) * d + j;
                                vec open = sigmoid(*(vec *)(inner + i * pitch + j)), g = load(gradient + p, d - j);
                                total += g * open;
                                store(to_gate + p, g * value * open * (1.0f - open), d - j);
                            }
                            to_map[start + i] = sum(total) * slope;
                        }
                    }
                }
            }
        free(inner);
    }
    leave_gate_taps(taps);
}
