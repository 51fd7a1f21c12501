/* Batch norm of a map that some other convolution made, and where a normalised map is needed as it is. */
#include "native.h"

/* The affine of z's batch norm. z: rows C. */
void norm_forward(const float *z, long rows, long channels, const float *gamma, const float *beta, float *running_mean,
                  float *running_var, long long *batches, float momentum, float eps, float *affine_out) {
    Stats stats = stats_new(channels);
    for (long r = 0; r < rows; r += 64) {
        long count = least(64, rows - r);
        stats_add(&stats, z + r * channels, count, 0, channels, channels);
        stats.rows += count;
    }
    stats_end(&stats, gamma, beta, running_mean, running_var, batches, momentum, eps, affine_out);
}

void norm_backward(const float *d_z, const float *d_affine_out, const float *z, const float *affine_out, long rows,
                   long channels, int learns, float *d_out, float *d_norm) {
    Correction correction = correction_new(affine_out, d_affine_out, channels, learns ? rows : 0, d_norm);
    corrected(d_z, z, affine_out, &correction, rows, 0, channels, channels, d_out, channels);
    correction_free(&correction);
}

INLINE void join(float *y, const float *other, const int after, int count) {
    vec sum = load(y, count);
    if (other) sum += load(other, count);
    store(y, activated(sum, after), count);
}

/* y = after(act(norm(z)) + other); other may be NULL. */
void normalise_forward(const float *z, const float *affine, int act, const float *other, int after, long rows,
                    long channels, float *y) {
    for (long r = 0; r < rows; r += 64) {
        long count = least(64, rows - r), at = r * channels, end = at + count * channels;
        carry_out(z + at, affine, act, count, 0, channels, channels, y + at, channels);
        if (!other && after == LINEAR) continue;
        for (; at + LANES <= end; at += LANES) join(y + at, other ? other + at : NULL, after, LANES);
        if (at < end) join(y + at, other ? other + at : NULL, after, end - at);
    }
}

/* d_z from d_y; with `after`, d_other too, which is d_y as far as `after` lets it through. y is what normalise_forward
 * gave. */
void normalise_backward(const float *d_y, const float *y, const float *z, const float *affine, int act, int after,
                     long rows, long channels, float *d_z, float *d_affine, float *d_other) {
    float *seen = malloc(4 * 64 * channels);
    double *sums = calloc(4 * channels, 8);
    for (long r = 0; r < rows; r += 64) {
        long count = least(64, rows - r), at = r * channels, all = count * channels, k = 0;
        if (after != LINEAR) {
            for (; k + LANES <= all; k += LANES)
                store(d_other + at + k, passed(load(d_y + at + k, LANES), load(y + at + k, LANES), after), LANES);
            if (k < all)
                store(d_other + at + k, passed(load(d_y + at + k, all - k), load(y + at + k, all - k), after), all - k);
        }
        memcpy(d_z + at, (after != LINEAR ? d_other : d_y) + at, 4 * all);
        if (act != LINEAR) carry_out(z + at, affine, act, count, 0, channels, channels, seen, channels);
        through_activation(d_z + at, seen, channels, z + at, affine, act, count, 0, channels, channels, sums);
    }
    as_floats(sums, 4 * channels, d_affine);
    free(seen);
}
