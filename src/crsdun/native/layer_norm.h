/* LayerNorm over the channels of a pixel. */

#define EPS 1e-5f

INLINE void pixel_moments(const float *p, long d, float *mean, float *scale)
{
    vec total = {};
    for (long c = 0; c < d; c += LANES) total += load(p + c, d - c);
    *mean = sum(total) / d;
    total = (vec){};
    for (long c = 0; c < d; c += LANES) {
        vec v = load(p + c, d - c) - *mean;
        total += c + LANES <= d ? v * v : load((float *)&v, d - c) * v;
    }
    *scale = 1 / __builtin_sqrtf(sum(total) / d + EPS);
}

INLINE void normalise_pixel(const float *p, const float *weight, const float *bias, float *out, long d)
{
    float mean, scale;
    pixel_moments(p, d, &mean, &scale);
    for (long c = 0; c < d; c += LANES)
        store(out + c, (load(p + c, d - c) - mean) * scale * load(weight + c, d - c) + load(bias + c, d - c), d - c);
}

/* out = (in - mean) / sqrt(variance + eps) * weight + bias for each of n pixels of d channels. */
void layer_norm(const float *in, const float *weight, const float *bias, float *out, long n, long d)
{
#pragma omp parallel for schedule(dynamic, 512)
    for (long i = 0; i < n; i++) normalise_pixel(in + i * d, weight, bias, out + i * d, d);
}

/* Its gradients: to_in (n,d), and those of weight and bias for each of `parts` parts, to_parameters (parts,2,d). */
void layer_norm_backward(const float *in, const float *weight, const float *gradient, float *to_in, float *to_parameters,
                         long n, long d, long parts)
{
#pragma omp parallel for schedule(dynamic)
    for (long part = 0; part < parts; part++) {
        float *to_weight = to_parameters + part * 2 * d, *to_bias = to_weight + d;
        memset(to_weight, 0, 2 * d * sizeof(float));
        for (long i = n * part / parts; i < n * (part + 1) / parts; i++) {
            const float *p = in + i * d, *g = gradient + i * d;
            float mean, scale;
            pixel_moments(p, d, &mean, &scale);
            vec plain = {}, skewed = {};
            for (long c = 0; c < d; c += LANES) {
                vec x = (load(p + c, d - c) - mean) * scale, y = load(g + c, d - c), w = y * load(weight + c, d - c);
                store(to_weight + c, load(to_weight + c, d - c) + x * y, d - c);
                store(to_bias + c, load(to_bias + c, d - c) + y, d - c);
                plain += w;
                skewed += w * x;
            }
            float a = sum(plain) / d, b = sum(skewed) / d;
            for (long c = 0; c < d; c += LANES) {
                vec x = (load(p + c, d - c) - mean) * scale, w = load(g + c, d - c) * load(weight + c, d - c);
                store(to_in + i * d + c, (w - a - x * b) * scale, d - c);
            }
        }
    }
}
