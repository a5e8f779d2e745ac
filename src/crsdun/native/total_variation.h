/* Planes of pixels: mixtures of them, and total variation. */

#define PIECE 256 /* pixels of all planes that stay in the cache */

/* out (n,P) = m (n,k) in (k,P), of each of B images. */
void mix_planes(const float *m, const float *in, float *out, long B, long n, long k, long P)
{
    long chunks = (P + PIECE - 1) / PIECE;
#pragma omp parallel
    {
        float *from = room(k * PIECE), *to = room(n * PIECE);
        memset(from, 0, k * PIECE * sizeof(float));
#pragma omp for schedule(static)
        for (long part = 0; part < B * chunks; part++) {
            long image = part / chunks, at = part % chunks * PIECE, count = least(PIECE, P - at);
            for (long t = 0; t < k; t++)
                memcpy(from + t * PIECE, in + (image * k + t) * P + at, count * sizeof(float));
            multiply(n, round_up(count), k, rows_of(m + image * n * k, k), from, PIECE, to, PIECE);
            for (long j = 0; j < n; j++)
                memcpy(out + (image * n + j) * P + at, to + j * PIECE, count * sizeof(float));
        }
        free(from);
        free(to);
    }
}

/* Dual steps of planes (H,W) that lie one after the other, see solvers/total_variation.py. */

/* A row of u = f - grad^T (p, q); `above` is the row of q before it, null for the first. u has W + 1 values, the last one
   repeated, so that there is no difference across the border. */
INLINE void primal_row(const float *f, const float *p, const float *q, const float *above, float *u, long W)
{
    u[0] = f[0] + p[0] + q[0] - (above ? above[0] : 0);
    for (long j = 1; j < W; j += LANES) {
        long left = W - j;
        vec v = load(f + j, left) + load(p + j, left) - load(p + j - 1, left) + load(q + j, left);
        if (above) v -= load(above + j, left);
        store(u + j, v, left);
    }
}

/* p, q += grad u / 8, and back into the disc of this radius; `local` scales it at each pixel. */
INLINE void dual_row(float *p, float *q, const float *u, const float *below, float radius, const float *local, long W)
{
    for (long j = 0; j < W; j += LANES) {
        long left = W - j;
        vec here = load(u + j, left), limit = all(radius);
        vec a = load(p + j, left) + 0.125f * (load(u + j + 1, left) - here);
        vec b = load(q + j, left) + 0.125f * (load(below + j, left) - here);
        if (local) limit *= load(local + j, left);
        vec shrink = limit / higher(root(a * a + b * b), limit);
        store(p + j, a * shrink, left);
        store(q + j, b * shrink, left);
    }
}

/* `steps` dual steps from p, q (n,H,W), in place, then u (n,H,W); f (n,H,W), radius (n), local (H,W) or null. */
void total_variation(const float *f, float *p, float *q, const float *radius, const float *local, float *u, long n, long H,
                     long W, long steps)
{
#pragma omp parallel
    {
        float *row = room(W + 1), *next = room(W + 1);
#pragma omp for schedule(dynamic)
        for (long plane = 0; plane < n; plane++) {
            const float *f0 = f + plane * H * W;
            float *p0 = p + plane * H * W, *q0 = q + plane * H * W;
            for (long step = 0; step < steps; step++) {
                primal_row(f0, p0, q0, 0, row, W);
                row[W] = row[W - 1];
                for (long i = 0; i < H; i++) {
                    long at = i * W;
                    float *below = row; /* of the last row: itself */
                    if (i + 1 < H) { /* before this row of q changes */
                        primal_row(f0 + at + W, p0 + at + W, q0 + at + W, q0 + at, next, W);
                        next[W] = next[W - 1];
                        below = next;
                    }
                    dual_row(p0 + at, q0 + at, row, below, radius[plane], local ? local + at : 0, W);
                    float *swap = row;
                    row = next;
                    next = swap;
                }
            }
            for (long i = 0; i < H; i++)
                primal_row(f0 + i * W, p0 + i * W, q0 + i * W, i ? q0 + (i - 1) * W : 0, u + (plane * H + i) * W, W);
        }
        free(row);
        free(next);
    }
}
