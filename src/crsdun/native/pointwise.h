/* Layers 1x1: the same product for each pixel. */

/* A weight (parts n, inputs) and its bias as b [input][output], each of the parts filled up to whole vectors. */
typedef struct { long inputs, outputs; float *b, *bias; } Projection;

#define CHUNK 48 /* pixels that go through a projection together */

static Projection take_projection(const float *weight, const float *bias, long inputs, long n, long parts)
{
    long width = round_up(n), outputs = parts * width;
    Projection to = {inputs, outputs, room(inputs * outputs), room(outputs)};
    memset(to.b, 0, inputs * outputs * sizeof(float));
    memset(to.bias, 0, outputs * sizeof(float));
    for (long part = 0; part < parts; part++)
        for (long i = 0; i < n; i++) {
            for (long t = 0; t < inputs; t++)
                to.b[t * outputs + part * width + i] = weight[(part * n + i) * inputs + t];
            if (bias) to.bias[part * width + i] = bias[part * n + i];
        }
    return to;
}

/* The way back through a weight (n, inputs). */
static Projection take_transposed(const float *weight, long inputs, long n)
{
    float *transposed = room(n * inputs);
    transpose(weight, inputs, transposed, n, n, inputs);
    Projection to = take_projection(transposed, 0, n, inputs, 1);
    free(transposed);
    return to;
}

static void leave_projection(Projection to)
{
    free(to.b);
    free(to.bias);
}

/* n pixels, from rows of `pitch` floats. */
INLINE void project(const Projection *to, long n, const float *in, long pitch, float *out)
{
    add_product(n, to->outputs, to->inputs, rows_of(in, pitch), to->b, to->outputs, to->bias, 0, out, to->outputs);
}

/* n pixels, filled up: [pixel][round_up(d)]. */
INLINE void take_pixels(const float *in, long n, long d, float *out)
{
    long pitch = round_up(d);
    for (long i = 0; i < n; i++)
        for (long j = 0; j < d; j += LANES) *(vec *)(out + i * pitch + j) = load(in + i * d + j, d - j);
}

/* out = in + update [pixel][round_up(d)], n pixels; only the update where there is no `in`. */
INLINE void add_update(const float *in, const float *update, float *out, long n, long d)
{
    for (long i = 0; i < n; i++)
        for (long j = 0; j < d; j += LANES) {
            vec v = *(const vec *)(update + i * round_up(d) + j);
            store(out + i * d + j, in ? v + load(in + i * d + j, d - j) : v, d - j);
        }
}

/* a (M,N) += the sum over n pixels of left [pixel][M filled up] times right [pixel][N]. */
INLINE void add_outer_products(long M, long N, long n, const float *left, const float *right, float *a)
{
    add_product(M, N, n, columns_of(left, round_up(M)), right, N, a, N, a, N);
}

INLINE void copy_out(const float *from, long pitch, float *to, long rows, long n)
{
    for (long i = 0; i < rows; i++) memcpy(to + i * n, from + i * pitch, n * sizeof(float));
}

/* in (pixels,K), weight (N,K), bias (N) or none, out (pixels,N). */
void pointwise(const float *in, const float *weight, const float *bias, float *out, long pixels, long K, long N)
{
    long chunks = (pixels + CHUNK - 1) / CHUNK;
    Projection to = take_projection(weight, bias, K, N, 1);
#pragma omp parallel
    {
        float *update = room(CHUNK * round_up(N));
#pragma omp for schedule(dynamic, 16)
        for (long i = 0; i < chunks; i++) {
            long first = i * CHUNK, n = least(CHUNK, pixels - first);
            project(&to, n, in + first * K, K, update);
            add_update(0, update, out + first * N, n, N);
        }
        free(update);
    }
    leave_projection(to);
}

/* Gradients: to_in, and for each of `parts` parts of the pixels to_weight (parts,N,K) and to_bias (parts,N) or none. */
void pointwise_backward(const float *in, const float *weight, const float *gradient, float *to_in, float *to_weight,
                        float *to_bias, long pixels, long K, long N, long parts)
{
    long wide = round_up(N), pitch = round_up(K);
    Projection back = take_transposed(weight, K, N);
#pragma omp parallel
    {
        float *x = room(CHUNK * (2 * pitch + wide) + wide * (pitch + 1)), *update = x + CHUNK * pitch,
              *g = update + CHUNK * pitch, *sums = g + CHUNK * wide, *bias_sums = sums + wide * pitch;
#pragma omp for schedule(dynamic)
        for (long part = 0; part < parts; part++) {
            memset(sums, 0, wide * (pitch + 1) * sizeof(float));
            long last = pixels * (part + 1) / parts;
            for (long first = pixels * part / parts; first < last; first += CHUNK) {
                long n = least(CHUNK, last - first);
                take_pixels(gradient + first * N, n, N, g);
                take_pixels(in + first * K, n, K, x);
                add_outer_products(N, pitch, n, g, x, sums);
                if (to_bias)
                    for (long i = 0; i < n; i++)
                        for (long j = 0; j < wide; j += LANES) *(vec *)(bias_sums + j) += *(vec *)(g + i * wide + j);
                if (!to_in) continue;
                project(&back, n, g, wide, update);
                add_update(0, update, to_in + first * K, n, K);
            }
            copy_out(sums, pitch, to_weight + part * N * K, N, K);
            if (to_bias) copy_out(bias_sums, N, to_bias + part * N, 1, N);
        }
        free(x);
    }
    leave_projection(back);
}

/* in (B,d,pixels), out (B,pixels,d). */
void to_channels_last(const float *in, float *out, long B, long d, long pixels)
{
    long chunks = (pixels + CHUNK - 1) / CHUNK;
#pragma omp parallel for collapse(2) schedule(dynamic, 16)
    for (long image = 0; image < B; image++)
        for (long i = 0; i < chunks; i++) {
            long first = i * CHUNK, n = least(CHUNK, pixels - first);
            const float *from = in + image * d * pixels + first;
            float *to = out + (image * pixels + first) * d;
            for (long c = 0; c < d; c++)
                for (long p = 0; p < n; p++) to[p * d + c] = from[c * pixels + p];
        }
}
