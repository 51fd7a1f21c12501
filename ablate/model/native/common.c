/* Batch norm and activation on rows of channels, a few vectors of channels at a time, which pass down all rows so that
 * what belongs to a channel stays in registers. */
#include "native.h"

/* Calls `body` with k, the first channel, and the constants VECS and lanes: two whole vectors, one, or part of one. */
#define BY_CHANNELS(count, CALL)                                     \
    do {                                                             \
        long k = 0;                                                  \
        for (; k + 2 * LANES <= (count); k += 2 * LANES) CALL(2, LANES); \
        for (; k + LANES <= (count); k += LANES) CALL(1, LANES);     \
        if (k < (count)) CALL(1, (int)((count) - k));                \
    } while (0)

INLINE void carry_out_as(const float *x, const float *affine, const int act, long rows, long channels, float *out,
                         long stride, const int vecs, const int lanes) {
    vec mean[2], scale[2], shift[2];
    for (int v = 0; v < vecs; v++) {
        mean[v] = load(affine + v * LANES, lanes);
        scale[v] = load(affine + channels + v * LANES, lanes);
        shift[v] = load(affine + 2 * channels + v * LANES, lanes);
    }
    for (long r = 0; r < rows; r++, x += channels, out += stride)
        for (int v = 0; v < vecs; v++) {
            vec y = (load(x + v * LANES, lanes) - mean[v]) * scale[v] + shift[v];
            store(out + v * LANES, activated(y, act), lanes);
        }
}

void carry_out(const float *x, const float *affine, int act, long rows, long c, long count, long channels, float *out,
               long stride) {
    x += c;
    if (!affine) {
        for (long r = 0; r < rows; r++) memcpy(out + r * stride, x + r * channels, 4 * count);
        return;
    }
    affine += c;
#define CARRY(vecs, lanes, act) \
    carry_out_as(x + k, affine + k, act, rows, channels, out + k, stride, vecs, lanes)
#define CARRY_LINEAR(vecs, lanes) CARRY(vecs, lanes, LINEAR)
#define CARRY_RELU(vecs, lanes) CARRY(vecs, lanes, RELU)
#define CARRY_RELU6(vecs, lanes) CARRY(vecs, lanes, RELU6)
    if (act == LINEAR) BY_CHANNELS(count, CARRY_LINEAR);
    else if (act == RELU) BY_CHANNELS(count, CARRY_RELU);
    else BY_CHANNELS(count, CARRY_RELU6);
}

Stats stats_new(long channels) {
    Stats stats = {channels, 0, malloc(4 * channels), calloc(channels, 8), calloc(channels, 8)};
    return stats;
}

INLINE void stats_add_as(Stats *stats, const float *rows, long count, long c, long stride, const int vecs,
                         const int lanes) {
    vec about[2], sum[2] = {{0}}, squares[2] = {{0}};
    for (int v = 0; v < vecs; v++) {
        if (!stats->rows) memcpy(stats->about + c + v * LANES, rows + v * LANES, 4 * lanes);
        about[v] = load(stats->about + c + v * LANES, lanes);
    }
    for (long r = 0; r < count; r++, rows += stride)
        for (int v = 0; v < vecs; v++) {
            vec d = load(rows + v * LANES, lanes) - about[v];
            sum[v] += d;
            squares[v] += d * d;
        }
    for (int v = 0; v < vecs; v++) {
        add_doubles(stats->sum + c + v * LANES, sum[v], lanes);
        add_doubles(stats->squares + c + v * LANES, squares[v], lanes);
    }
}

void stats_add(Stats *stats, const float *rows, long count, long c, long width, long stride) {
#define ADD(vecs, lanes) stats_add_as(stats, rows + k, count, c + k, stride, vecs, lanes)
    BY_CHANNELS(width, ADD);
}

void stats_end(Stats *stats, const float *gamma, const float *beta, float *running_mean, float *running_var,
               long long *batches, float momentum, float eps, float *affine) {
    long channels = stats->channels;
    double rows = stats->rows;
    if (batches) ++*batches;
    for (long c = 0; c < channels; c++) {
        double offset = stats->sum[c] / rows, var = stats->squares[c] / rows - offset * offset;
        if (var < 0) var = 0;
        double mean = stats->about[c] + offset;
        double inverse = 1 / sqrt(var + eps);
        affine[c] = mean;
        affine[channels + c] = gamma[c] * inverse;
        affine[2 * channels + c] = beta[c];
        affine[3 * channels + c] = inverse;
        if (running_mean) {
            running_mean[c] += momentum * (mean - running_mean[c]);
            running_var[c] += momentum * (var * rows / (rows - 1) - running_var[c]);
        }
    }
    free(stats->about), free(stats->sum), free(stats->squares);
}

Correction correction_new(const float *affine, const float *d_affine, long channels, long rows, float *d_norm) {
    Correction correction = {malloc(4 * channels), malloc(4 * channels)};
    const float *scale = affine + channels, *inverse = affine + 3 * channels;
    const float *d_scale = d_affine + channels, *d_shift = d_scale + channels;
    for (long c = 0; c < channels; c++) {
        d_norm[c] = inverse[c] * d_scale[c];
        d_norm[channels + c] = d_shift[c];
        correction.constant[c] = rows ? -scale[c] * d_shift[c] / rows : 0;
        correction.slope[c] = rows ? -scale[c] * inverse[c] * inverse[c] * d_scale[c] / rows : 0;
    }
    return correction;
}

void correction_free(Correction *correction) { free(correction->constant), free(correction->slope); }

INLINE void corrected_as(const float *gradient, const float *z, const float *mean, const float *constant,
                         const float *slope, long rows, long channels, float *out, long stride, const int vecs,
                         const int lanes) {
    vec factor[2], offset[2], middle[2];
    for (int v = 0; v < vecs; v++) {
        factor[v] = load(slope + v * LANES, lanes);
        offset[v] = load(constant + v * LANES, lanes);
        middle[v] = load(mean + v * LANES, lanes);
    }
    for (long r = 0; r < rows; r++, gradient += channels, z += channels, out += stride)
        for (int v = 0; v < vecs; v++) {
            vec added = (load(z + v * LANES, lanes) - middle[v]) * factor[v] + offset[v];
            store(out + v * LANES, load(gradient + v * LANES, lanes) + added, lanes);
        }
}

void corrected(const float *gradient, const float *z, const float *mean, const Correction *correction, long rows,
               long c, long count, long channels, float *out, long stride) {
    gradient += c, z += c, mean += c;
    const float *constant = correction->constant + c, *slope = correction->slope + c;
#define CORRECT(vecs, lanes)                                                                                   \
    corrected_as(gradient + k, z + k, mean + k, constant + k, slope + k, rows, channels, out + k, stride, vecs, \
                 lanes)
    BY_CHANNELS(count, CORRECT);
}

INLINE void through_as(float *d, const float *out, long out_stride, const float *x, const float *affine, const int act,
                       long rows, long channels, double *d_scale, double *d_shift, const int vecs, const int lanes) {
    vec mean[2], scale[2], by_scale[2] = {{0}}, by_shift[2] = {{0}};
    for (int v = 0; v < vecs; v++) {
        mean[v] = load(affine + v * LANES, lanes);
        scale[v] = load(affine + channels + v * LANES, lanes);
    }
    for (long r = 0; r < rows; r++, d += channels, x += channels, out += out_stride)
        for (int v = 0; v < vecs; v++) {
            vec g = passed(load(d + v * LANES, lanes), act == LINEAR ? mean[v] : load(out + v * LANES, lanes), act);
            by_shift[v] += g;
            by_scale[v] += g * (load(x + v * LANES, lanes) - mean[v]);
            store(d + v * LANES, g * scale[v], lanes);
        }
    for (int v = 0; v < vecs; v++) {
        add_doubles(d_scale + v * LANES, by_scale[v], lanes);
        add_doubles(d_shift + v * LANES, by_shift[v], lanes);
    }
}

void through_activation(float *d_out, const float *out, long out_stride, const float *x, const float *affine, int act,
                        long rows, long c, long count, long channels, double *d_affine) {
    if (!affine) return;
    d_out += c, x += c, affine += c;
    double *d_scale = d_affine + channels + c, *d_shift = d_scale + channels;
#define THROUGH(vecs, lanes, act)                                                                                \
    through_as(d_out + k, out + k, out_stride, x + k, affine + k, act, rows, channels, d_scale + k, d_shift + k, \
               vecs, lanes)
#define THROUGH_LINEAR(vecs, lanes) THROUGH(vecs, lanes, LINEAR)
#define THROUGH_RELU(vecs, lanes) THROUGH(vecs, lanes, RELU)
#define THROUGH_RELU6(vecs, lanes) THROUGH(vecs, lanes, RELU6)
    if (act == LINEAR) BY_CHANNELS(count, THROUGH_LINEAR);
    else if (act == RELU) BY_CHANNELS(count, THROUGH_RELU);
    else BY_CHANNELS(count, THROUGH_RELU6);
}
