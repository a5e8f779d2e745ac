/* Vectors as long as the processor's registers, and what a network computes of them. */

#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __AVX__
#include <immintrin.h>
#endif

/* Values of a vector: longer ones would lie in memory. */
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

/* Vectors that fit into the registers. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define REGISTERS 32
#else
#define REGISTERS 16
#endif

#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));

INLINE long least(long a, long b) { return a < b ? a : b; }
INLINE long most(long a, long b) { return a > b ? a : b; }
INLINE long round_up(long n) { return (n + LANES - 1) / LANES * LANES; }

static float *room(long floats) { return aligned_alloc(64, (floats + LANES + 15) / 16 * 64); }

INLINE vec all(float value) { return (vec){} + value; }

#if LANES == 8
/* Of the first n of 8 values. */
INLINE __m256i first(long n)
{
    static const int32_t marks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(marks + 8 - n));
}
#endif

/* The first n values, zeros behind them. */
INLINE vec load(const float *p, long n)
{
    if (n >= LANES) return *(const loose *)p;
    if (n <= 0) return (vec){};
#if LANES == 16
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif LANES == 8
    return (vec)_mm256_maskload_ps(p, first(n));
#else
    vec v = {};
    for (long i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}

INLINE void store(float *p, vec v, long n)
{
    if (n >= LANES) { *(loose *)p = v; return; }
#if LANES == 16
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif LANES == 8
    if (n > 0) _mm256_maskstore_ps(p, first(n), (__m256)v);
#else
    for (long i = 0; i < n; i++) p[i] = v[i];
#endif
}

INLINE float sum(vec v)
{
#if LANES == 16
    return _mm512_reduce_add_ps((__m512)v);
#else
    float s = 0;
    for (int i = 0; i < LANES; i++) s += v[i];
    return s;
#endif
}

INLINE vec choose(mask m, vec a, vec b) { return (vec)((m & (mask)a) | (~m & (mask)b)); }

#if LANES == 16
INLINE vec lower(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE vec higher(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
#elif LANES == 8
INLINE vec lower(vec a, vec b) { return (vec)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE vec higher(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
#else
INLINE vec lower(vec a, vec b) { return choose(a < b, a, b); }
INLINE vec higher(vec a, vec b) { return choose(a > b, a, b); }
#endif

INLINE vec root(vec x)
{
    float v[LANES];
    *(loose *)v = x;
    for (int i = 0; i < LANES; i++) v[i] = __builtin_sqrtf(v[i]);
    return *(loose *)v;
}

INLINE vec clamp(vec x, float top) { return lower(higher(x, all(-top)), all(top)); }

/* e^x by 2^n e^r, |r| <= ln 2 / 2. */
INLINE vec exponential(vec x)
{
    x = lower(higher(x, all(-87.0f)), all(88.0f));
    vec shift = all(12582912.0f), n = (x * 1.44269504f + shift) - shift;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec p = all(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    mask power = (__builtin_convertvector(n, mask) + 127) << 23;
    return p * (vec)power;
}

INLINE vec odd_polynomial(vec x, float top, const float *c, const int degree)
{
    x = clamp(x, top);
    vec s = x * x * (2 / (top * top)) - 1.0f, p = all(c[degree]);
#pragma GCC unroll 20
    for (int k = degree - 1; k >= 0; k--) p = p * s + c[k];
    return x * p;
}

/* Phi(x), the distribution function of the normal distribution: exact to 1.1e-7 (fitted to erf(x/sqrt 2)/2). */
static const float CDF[] = {
    0.130928114f, -0.0653280541f, 0.0484995916f, -0.039206814f, 0.0321165957f, -0.0257464573f, 0.0196451433f,
    -0.0139633203f, 0.00965119712f, -0.00671533775f, 0.00365892076f, -0.00118641078f, 0.000874935009f,
    -0.00102836872f, 0.000392858376f};

/* The derivative of x Phi(x), exact to 2.1e-7. */
static const float SLOPE[] = {
    0.121998772f, -0.0616574697f, 0.0486359559f, -0.0461970381f, 0.0501604937f, -0.057715416f, 0.0650876015f,
    -0.0696792454f, 0.069762297f, -0.0602971688f, 0.0437325388f, -0.0365713947f, 0.0349682122f, -0.0178523529f,
    0.000364964741f, -0.00294306572f, 0.00733479811f, -0.00292558037f};

INLINE vec gelu(vec x) { return x * (0.5f + odd_polynomial(x, 5.4f, CDF, 14)); }
INLINE vec gelu_slope(vec x) { return 0.5f + odd_polynomial(x, 5.8f, SLOPE, 17); }
INLINE vec sigmoid(vec x) { return 1.0f / (1.0f + exponential(-x)); }
