/* GroupNorm with one channel per group, and BatchNorm (as one image of all pixels). */

/* Sums over the pixels of each part of an image, (B,parts,2,d), of what CODE makes of pixel p, channel j: vectors a, b. */
#define SUM_PARTS(CODE)                                                                                               \
    _Pragma("omp parallel for collapse(2) schedule(dynamic)")                                                         \
    for (long image = 0; image < B; image++)                                                                          \
        for (long part = 0; part < parts; part++) {                                                                   \
            float *sums = room + (image * parts + part) * 2 * d;                                                      \
            memset(sums, 0, 2 * d * sizeof(float));                                                                   \
            for (long i = pixels * part / parts; i < pixels * (part + 1) / parts; i++)                                \
                for (long j = 0; j < d; j += LANES) {                                                                 \
                    long p = (image * pixels + i) * d + j, left = d - j;                                              \
                    vec a, b;                                                                                         \
                    CODE;                                                                                             \
                    store(sums + j, load(sums + j, left) + a, left);                                                  \
                    store(sums + d + j, load(sums + d + j, left) + b, left);                                          \
                }                                                                                                     \
        }

INLINE void add_parts(const float *parts_of_image, long parts, long d, float *to, float factor)
{
    memset(to, 0, d * sizeof(float));
    for (long part = 0; part < parts; part++)
        for (long j = 0; j < d; j++) to[j] += parts_of_image[part * 2 * d + j] * factor;
}

/* Mean and variance of each channel of each image, (B,d) each; room (B,parts,2,d). The mean first: that keeps all digits. */
void channel_moments(const float *in, float *mean, float *variance, float *room, long B, long pixels, long d, long parts)
{
    SUM_PARTS(a = load(in + p, left); b = (vec){})
    for (long image = 0; image < B; image++)
        add_parts(room + image * parts * 2 * d, parts, d, mean + image * d, 1.0f / pixels);
    SUM_PARTS(a = load(in + p, left) - load(mean + image * d + j, left); a *= a; b = (vec){})
    for (long image = 0; image < B; image++)
        add_parts(room + image * parts * 2 * d, parts, d, variance + image * d, 1.0f / pixels);
}

/* out = (in - mean) scale + shift. */
void channel_norm(const float *in, const float *mean, const float *scale, const float *shift, float *out, long B,
                  long pixels, long d)
{
#pragma omp parallel for schedule(dynamic, 512)
    for (long i = 0; i < B * pixels; i++)
        for (long j = 0; j < d; j += LANES) {
            long c = i / pixels * d + j, left = d - j;
            store(out + i * d + j, (load(in + i * d + j, left) - load(mean + c, left)) * load(scale + c, left)
                  + load(shift + c, left), left);
        }
}

/* Gradients, with scale = weight times deviation, 1 / sqrt(variance + eps): to_in, to_bias and to_weight (B,d) each. */
void channel_norm_backward(const float *in, const float *mean, const float *deviation, const float *scale,
                           const float *gradient, float *to_in, float *to_bias, float *to_weight, float *room, long B,
                           long pixels, long d, long parts)
{
    SUM_PARTS(a = load(gradient + p, left); b = a * (load(in + p, left) - load(mean + image * d + j, left)))
    for (long image = 0; image < B; image++) {
        add_parts(room + image * parts * 2 * d, parts, d, to_bias + image * d, 1);
        add_parts(room + image * parts * 2 * d + d, parts, d, to_weight + image * d, 1);
    }
    for (long c = 0; c < B * d; c++) to_weight[c] *= deviation[c];
#pragma omp parallel for schedule(dynamic, 512)
    for (long i = 0; i < B * pixels; i++)
        for (long j = 0; j < d; j += LANES) {
            long c = i / pixels * d + j, left = d - j;
            vec x = (load(in + i * d + j, left) - load(mean + c, left)) * load(deviation + c, left);
            vec even = load(gradient + i * d + j, left)
                - (load(to_bias + c, left) + x * load(to_weight + c, left)) * (1.0f / pixels);
            store(to_in + i * d + j, even * load(scale + c, left), left);
        }
}
