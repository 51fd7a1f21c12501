/* What the kernels share: vectors of the widest kind the compiler has, activations, statistics of a batch.
 *
 * Maps are N H W C in memory (torch: channels_last), float32, dense. A map that waits for its batch norm and activation
 * comes with `affine`, four rows of C numbers: mean, scale, shift, 1 / deviation; what is meant is
 * act((x - mean) * scale + shift). A NaN stays one, so that a run that diverges is seen to.
 */
#ifndef ABLATE_NATIVE_H
#define ABLATE_NATIVE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int mask __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))

enum { LINEAR = 0, RELU = 1, RELU6 = 2 }; /* CODES of fused.py */

INLINE long least(long a, long b) { return a < b ? a : b; }
INLINE long rounded_up(long n, long to) { return (n + to - 1) / to * to; }

/* The first `count` of LANES numbers; the others are 0. */
INLINE vec load(const float *from, int count) {
    if (count == LANES) return *(const vec *)from;
    vec out = {0};
    memcpy(&out, from, 4 * count);
    return out;
}

INLINE void store(float *to, vec value, int count) {
    if (count == LANES) *(vec *)to = value;
    else memcpy(to, &value, 4 * count);
}

INLINE void add_doubles(double *to, vec value, int count) {
    for (int i = 0; i < count; i++) to[i] += value[i];
}

INLINE void as_floats(double *sums, long count, float *to) {
    for (long i = 0; i < count; i++) to[i] = sums[i];
    free(sums);
}

/* `x` where `where` is 0, else 0. */
INLINE vec cleared(vec x, mask where) { return (vec)((mask)x & ~where); }

#if defined(__AVX512F__)
INLINE vec raised(vec x, vec low) { return (vec)_mm512_max_ps((__m512)low, (__m512)x); }
INLINE vec lowered(vec x, vec high) { return (vec)_mm512_min_ps((__m512)high, (__m512)x); }
#elif defined(__AVX__)
INLINE vec raised(vec x, vec low) { return (vec)_mm256_max_ps((__m256)low, (__m256)x); }
INLINE vec lowered(vec x, vec high) { return (vec)_mm256_min_ps((__m256)high, (__m256)x); }
#else
INLINE vec chosen(mask which, vec yes, vec no) { return (vec)(((mask)yes & which) | ((mask)no & ~which)); }
INLINE vec raised(vec x, vec low) { return chosen(x < low, low, x); }
INLINE vec lowered(vec x, vec high) { return chosen(x > high, high, x); }
#endif

INLINE vec activated(vec x, int act) {
    const vec zero = {0}, six = zero + 6;
    if (act == LINEAR) return x;
    x = raised(x, zero);
    return act == RELU6 ? lowered(x, six) : x;
}

/* What the activation lets through of a gradient, told by what it gave. */
INLINE vec passed(vec gradient, vec out, int act) {
    const vec zero = {0}, six = zero + 6;
    if (act == LINEAR) return gradient;
    gradient = cleared(gradient, out <= zero);
    return act == RELU6 ? cleared(gradient, out >= six) : gradient;
}

/* Rows of `count` channels with batch norm and activation carried out; affine NULL: as they are. `c` is the first
 * channel, `channels` the distance of rows of x and affine, `stride` that of rows of out. */
void carry_out(const float *x, const float *affine, int act, long rows, long c, long count, long channels, float *out,
               long stride);

/* Running sums of a batch, channel by channel, taken about the first row so that nothing cancels. */
typedef struct {
    long channels, rows;
    float *about;
    double *sum, *squares;
} Stats;

Stats stats_new(long channels);
void stats_add(Stats *stats, const float *rows, long count, long c, long width, long stride);
/* Fills affine and moves the running statistics, if there are any; frees the sums. */
void stats_end(Stats *stats, const float *gamma, const float *beta, float *running_mean, float *running_var,
               long long *batches, float momentum, float eps, float *affine);

/* Batch norm's gradient: of a map z whose normalised form got `gradient` = dL/d(z - mean) as far as z itself goes, and
 * whose affine got `d_affine`, the whole gradient is gradient + constant + slope * (z - mean), channel by channel.
 * `rows` is 0 where the statistics were not the batch's (a norm that does not learn): then there is nothing to correct. */
typedef struct {
    float *constant, *slope;
} Correction;

Correction correction_new(const float *affine, const float *d_affine, long channels, long rows, float *d_norm);
void correction_free(Correction *correction);
void corrected(const float *gradient, const float *z, const float *mean, const Correction *correction, long rows,
               long c, long count, long channels, float *out, long stride);

/* From the gradient of what the next layer saw (d_out, overwritten by that of x) to those of x and of its affine (4
 * rows, of which scale's and shift's are added to). `out` is what the next layer saw. */
void through_activation(float *d_out, const float *out, long out_stride, const float *x, const float *affine, int act,
                        long rows, long c, long count, long channels, double *d_affine);

#endif
