/* 1x1 convolution: a matrix product over pixels, whose input is normalised and whose output is summed up while it is in
 * the cache. Rows are pixels; W is C' C, one row an output channel, as torch has it. */
#include "native.h"

#define ROWS 6             /* of an accumulator: 6 x 2 vectors leave registers for what is multiplied */
#define WIDE (2 * LANES)   /* its columns */
#define TILE_NUMBERS 24576 /* of each of a tile's buffers: a part of the second-level cache */

/* sums[r][v] of a[r * a_row + d * a_step] * b[d * b_step + v * LANES ...] over d < depth. */
INLINE void products(const int rows, const int vecs, long depth, const float *a, long a_row, long a_step,
                     const float *b, long b_step, vec sums[ROWS][2]) {
    vec s00 = {0}, s01 = s00, s10 = s00, s11 = s00, s20 = s00, s21 = s00;
    vec s30 = s00, s31 = s00, s40 = s00, s41 = s00, s50 = s00, s51 = s00;
    for (long d = 0; d < depth; d++, a += a_step, b += b_step) {
        vec b0 = *(const vec *)b, b1 = vecs > 1 ? *(const vec *)(b + LANES) : b0;
#define ROW(r, first, second)                      \
    if (rows > r) {                                \
        float factor = a[r * a_row];               \
        first += factor * b0;                      \
        if (vecs > 1) second += factor * b1;       \
    }
        ROW(0, s00, s01) ROW(1, s10, s11) ROW(2, s20, s21) ROW(3, s30, s31) ROW(4, s40, s41) ROW(5, s50, s51)
    }
    vec all[ROWS][2] = {{s00, s01}, {s10, s11}, {s20, s21}, {s30, s31}, {s40, s41}, {s50, s51}};
    memcpy(sums, all, sizeof all);
}

/* `columns` columns of `rows` rows, stored to or added to `to`. */
INLINE void block(const int rows, const int vecs, long depth, const float *a, long a_row, long a_step, const float *b,
                  long b_step, float *to, long to_row, long columns, const int add) {
    vec sums[ROWS][2];
    products(rows, vecs, depth, a, a_row, a_step, b, b_step, sums);
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vecs; v++) {
            float *at = to + r * to_row + v * LANES;
            int count = least(LANES, columns - v * LANES);
            if (count <= 0) continue;
            vec out = sums[r][v];
            if (add) out += load(at, count);
            store(at, out, count);
        }
}

/* All rows of one panel of up to WIDE columns. */
INLINE void panel_as(const int vecs, long rows, long depth, const float *a, long a_row, long a_step, const float *b,
                     long b_step, float *to, long to_row, long columns, const int add) {
    long r = 0;
    for (; r + ROWS <= rows; r += ROWS)
        block(ROWS, vecs, depth, a + r * a_row, a_row, a_step, b, b_step, to + r * to_row, to_row, columns, add);
    a += r * a_row, to += r * to_row;
    switch (rows - r) {
    case 5: block(5, vecs, depth, a, a_row, a_step, b, b_step, to, to_row, columns, add); break;
    case 4: block(4, vecs, depth, a, a_row, a_step, b, b_step, to, to_row, columns, add); break;
    case 3: block(3, vecs, depth, a, a_row, a_step, b, b_step, to, to_row, columns, add); break;
    case 2: block(2, vecs, depth, a, a_row, a_step, b, b_step, to, to_row, columns, add); break;
    case 1: block(1, vecs, depth, a, a_row, a_step, b, b_step, to, to_row, columns, add); break;
    }
}

static void panel(long rows, long depth, const float *a, long a_row, long a_step, const float *b, long b_step,
                  float *to, long to_row, long columns, int add) {
    if (columns > LANES && add) panel_as(2, rows, depth, a, a_row, a_step, b, b_step, to, to_row, columns, 1);
    else if (columns > LANES) panel_as(2, rows, depth, a, a_row, a_step, b, b_step, to, to_row, columns, 0);
    else if (add) panel_as(1, rows, depth, a, a_row, a_step, b, b_step, to, to_row, columns, 1);
    else panel_as(1, rows, depth, a, a_row, a_step, b, b_step, to, to_row, columns, 0);
}

/* A matrix of depth x columns, element (d, c) at from[d * by_depth + c * by_column], in panels of WIDE columns, the last
 * filled up with 0. */
static float *packed(const float *from, long depth, long columns, long by_depth, long by_column) {
    float *all = calloc(depth * rounded_up(columns, WIDE), 4), *to = all;
    for (long c = 0; c < columns; c += WIDE)
        for (long d = 0; d < depth; d++, to += WIDE)
            for (long k = 0; k < least(WIDE, columns - c); k++) to[k] = from[d * by_depth + (c + k) * by_column];
    return all;
}

/* rows x depth times packed depth x columns. */
static void times_packed(const float *a, long rows, long depth, long a_row, const float *panels, long columns,
                         float *to) {
    for (long c = 0; c < columns; c += WIDE, panels += depth * WIDE)
        panel(rows, depth, a, a_row, 1, panels, WIDE, to + c, columns, least(WIDE, columns - c), 0);
}

static long tile_rows(long widest) {
    long rows = TILE_NUMBERS / widest / ROWS * ROWS;
    return rows < 4 * ROWS ? 4 * ROWS : rows > 192 ? 192 : rows;
}

/* z = act(norm(x)) W^T and, with `gamma`, the affine of z's batch norm. x: rows C, z: rows C'. */
void pointwise_forward(const float *x, const float *affine, int act, const float *weight, long rows, long from, long to,
                       const float *gamma, const float *beta, float *running_mean, float *running_var, long long *batches,
                       float momentum, float eps, float *z, float *affine_out) {
    float *panels = packed(weight, from, to, 1, from);
    long tile = tile_rows(from);
    float *seen = affine ? malloc(4 * tile * from) : NULL;
    Stats stats;
    if (gamma) stats = stats_new(to);
    for (long r = 0; r < rows; r += tile) {
        long count = least(tile, rows - r);
        const float *input = x + r * from;
        if (affine) carry_out(input, affine, act, count, 0, from, from, seen, from), input = seen;
        times_packed(input, count, from, from, panels, to, z + r * to);
        if (gamma) stats_add(&stats, z + r * to, count, 0, to, to), stats.rows += count;
    }
    if (gamma) stats_end(&stats, gamma, beta, running_mean, running_var, batches, momentum, eps, affine_out);
    free(panels), free(seen);
}

/* From the gradients of z and of its affine to those of x, of x's affine, of the weight and of gamma and beta.
 * d_x may be NULL (the images); d_weight comes in as 0. */
void pointwise_backward(const float *d_z, const float *d_affine_out, const float *z, const float *affine_out,
                        const float *x, const float *affine, int act, const float *weight, long rows, long from,
                        long to, int learns, float *d_x, float *d_affine, float *d_weight, float *d_norm) {
    Correction correction = correction_new(affine_out, d_affine_out, to, learns ? rows : 0, d_norm);
    float *panels = d_x ? packed(weight, to, from, from, 1) : NULL;
    long tile = tile_rows(from > to ? from : to), padded = rounded_up(from, LANES);
    float *g = malloc(4 * tile * to), *seen = calloc(tile * padded, 4);
    double *sums = affine ? calloc(4 * from, 8) : NULL;
    for (long r = 0; r < rows; r += tile) {
        long count = least(tile, rows - r);
        const float *input = x + r * from;
        corrected(d_z + r * to, z + r * to, affine_out, &correction, count, 0, to, to, g, to);
        carry_out(input, affine, act, count, 0, from, from, seen, padded);
        for (long c = 0; c < from; c += WIDE)
            panel(to, count, g, 1, to, seen + c, padded, d_weight + c, from, least(WIDE, from - c), 1);
        if (d_x) {
            times_packed(g, count, to, to, panels, from, d_x + r * from);
            through_activation(d_x + r * from, seen, padded, input, affine, act, count, 0, from, from, sums);
        }
    }
    correction_free(&correction);
    if (affine) as_floats(sums, 4 * from, d_affine);
    free(panels), free(g), free(seen);
}
