/* Depthwise 3x3 convolution with padding 1 and stride 1 or 2. An image is taken a band of rows (and, where rows are
 * long, a block of channels) at a time, copied with a border of zeros into a buffer that stays in the cache. The weight
 * is C 9, as torch has it, and turned round for the kernels: one row of channels a tap. */
#include "native.h"

#define BUFFER_NUMBERS 40960 /* of each buffer, as far as that leaves three rows of a few channels */
#define BAND 8               /* rows that a band has at least, before channels are taken in blocks */
#define LINE 16              /* numbers in a cache line */

typedef struct {
    long height, width, channels, stride, out_height, out_width;
    long block;             /* channels taken at a time */
    long row, out_row;      /* numbers in a row of the buffers of the input and of the output */
    long band;              /* output rows taken at a time */
} Shape;

static Shape shape_of(long height, long width, long channels, long stride) {
    Shape s = {height, width, channels, stride, (height - 1) / stride + 1, (width - 1) / stride + 1, 0, 0, 0, 0};
    long rows = least(stride * s.out_height, BAND) + 2;
    long fits = BUFFER_NUMBERS / (rows * (width + 2)) / LINE * LINE;
    s.block = least(fits < LINE ? LINE : fits, rounded_up(channels, LANES));
    s.row = (width + 2) * s.block, s.out_row = (s.out_width + 2) * s.block;
    long band = (BUFFER_NUMBERS / s.row - 2) / stride;
    s.band = least(band < 1 ? 1 : band, s.out_height);
    return s;
}

/* Buffers for a band with the rows and columns around it: all 0, so that the columns around it stay so. */
static float *input_buffer(const Shape *s) { return calloc((s->stride * s->band + 2) * s->row, 4); }
static float *output_buffer(const Shape *s) { return calloc((s->band + 2) * s->out_row, 4); }

/* The transposed of rows x columns. */
static float *turned(const float *from, long rows, long columns) {
    float *to = malloc(4 * rows * columns);
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
    return to;
}

/* A row of `width` pixels: the nine taps on the three rows that begin at `in`, which are `row` numbers apart. `turned`:
 * the taps from the last to the first. */
INLINE void slide(const float *in, long row, long width, const long stride, const float *weight, const int turned,
                  const Shape *s, long c, int count, float *out) {
    vec k[9];
    for (int t = 0; t < 9; t++) k[t] = load(weight + (turned ? 8 - t : t) * s->channels + c, count);
    for (long w = 0; w < width; w++, in += stride * s->block, out += s->channels) {
        vec sums[3];
        for (int i = 0; i < 3; i++) {
            const float *from = in + i * row;
            sums[i] = load(from, LANES) * k[3 * i] + load(from + s->block, LANES) * k[3 * i + 1] +
                      load(from + 2 * s->block, LANES) * k[3 * i + 2];
        }
        store(out, sums[0] + sums[1] + sums[2], count);
    }
}

static void convolve(const float *in, const float *weight, const Shape *s, long rows, long c, long count, float *z) {
    for (long h = 0; h < rows; h++)
        for (long k = 0; k < count; k += LANES) {
            const float *from = in + h * s->stride * s->row + k;
            float *to = z + h * s->out_width * s->channels + c + k;
            int lanes = least(LANES, count - k);
            if (lanes < LANES) slide(from, s->row, s->out_width, s->stride, weight, 0, s, c + k, lanes, to);
            else if (s->stride == 1) slide(from, s->row, s->out_width, 1, weight, 0, s, c + k, LANES, to);
            else slide(from, s->row, s->out_width, 2, weight, 0, s, c + k, LANES, to);
        }
}

/* Adds a band's part to the weight's gradient. */
INLINE void weigh_as(const float *in, const float *g, const Shape *s, const long stride, long rows, long c, int count,
                     float *d_weight) {
    vec k[9] = {{0}};
    for (long h = 0; h < rows; h++) {
        const float *from = in + h * stride * s->row, *gradient = g + (h + 1) * s->out_row + s->block;
        for (long w = 0; w < s->out_width; w++, from += stride * s->block, gradient += s->block) {
            vec factor = load(gradient, LANES);
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++) k[3 * i + j] += factor * load(from + i * s->row + j * s->block, LANES);
        }
    }
    for (int t = 0; t < 9; t++) {
        float *to = d_weight + t * s->channels + c;
        store(to, load(to, count) + k[t], count);
    }
}

static void weigh(const float *in, const float *g, const Shape *s, long rows, long c, long count, float *d_weight) {
    for (long k = 0; k < count; k += LANES) {
        int lanes = least(LANES, count - k);
        if (lanes < LANES) weigh_as(in + k, g + k, s, s->stride, rows, c + k, lanes, d_weight);
        else if (s->stride == 1) weigh_as(in + k, g + k, s, 1, rows, c + k, LANES, d_weight);
        else weigh_as(in + k, g + k, s, 2, rows, c + k, LANES, d_weight);
    }
}

/* A row of the input's gradient at stride 2: an even row lies under the middle row of taps, an odd one under the last of the output row
 * above it (g) and the first of the one below; columns likewise. */
INLINE void spread_row_of_2(const float *g, const float *weight, const Shape *s, const int odd, long c, int count,
                            float *out) {
    vec k[9];
    for (int t = 0; t < 9; t++) k[t] = load(weight + t * s->channels + c, count);
    const float *below = g + s->out_row;
    long step = s->block;
    for (long w = 0; w < s->width; w += 2, g += step, below += step, out += 2 * s->channels) {
        vec here = load(g, LANES), next = load(g + step, LANES);
        vec even = here * (odd ? k[7] : k[4]);
        vec other = odd ? here * k[8] + next * k[6] : here * k[5] + next * k[3];
        if (odd) {
            vec under = load(below, LANES), beside = load(below + step, LANES);
            even += under * k[1];
            other += under * k[2] + beside * k[0];
        }
        store(out, even, count);
        if (w + 1 < s->width) store(out + s->channels, other, count);
    }
}

/* Rows of the input's gradient from a band's g, whose first row is the one before the band. */
static void spread(const float *g, const float *weight, const Shape *s, long rows, long c, long count, float *d_x) {
    for (long h = 0; h < rows; h++)
        for (long k = 0; k < count; k += LANES) {
            float *to = d_x + h * s->width * s->channels + c + k;
            int lanes = least(LANES, count - k);
            if (s->stride == 1) {
                const float *from = g + h * s->out_row + k;
                // the convolution of the bordered g with the taps turned round
                if (lanes < LANES) slide(from, s->out_row, s->width, 1, weight, 1, s, c + k, lanes, to);
                else slide(from, s->out_row, s->width, 1, weight, 1, s, c + k, LANES, to);
            } else {
                const float *from = g + (h / 2 + 1) * s->out_row + s->block + k;
                if (lanes < LANES) spread_row_of_2(from, weight, s, h % 2, c + k, lanes, to);
                else if (h % 2) spread_row_of_2(from, weight, s, 1, c + k, LANES, to);
                else spread_row_of_2(from, weight, s, 0, c + k, LANES, to);
            }
        }
}

/* The rows of an image that lie under output rows first ... first + rows - 1, normalised, one above and below with them;
 * rows beyond the image are 0. */
static void fill(const float *x, const float *affine, int act, const Shape *s, long first, long rows, long c,
                 long count, float *to) {
    long top = first * s->stride - 1, last = (first + rows - 1) * s->stride + 1;
    for (long h = top; h <= last; h++, to += s->row)
        if (h < 0 || h >= s->height) memset(to, 0, 4 * s->row);
        else
            carry_out(x + h * s->width * s->channels, affine, act, s->width, c, count, s->channels, to + s->block,
                      s->block);
}

/* z = conv(act(norm(x))) and, with `gamma`, the affine of z's batch norm. x: N H W C; z: N ceil(H/s) ceil(W/s) C. */
void depthwise_forward(const float *x, const float *affine, int act, const float *weight, long images, long height,
                       long width, long channels, long stride, const float *gamma, const float *beta,
                       float *running_mean, float *running_var, long long *batches, float momentum, float eps,
                       float *z, float *affine_out) {
    Shape s = shape_of(height, width, channels, stride);
    long out_width = s.out_width * channels;
    float *seen = input_buffer(&s), *taps = turned(weight, channels, 9);
    Stats stats;
    if (gamma) stats = stats_new(channels);
    for (long n = 0; n < images; n++, x += height * width * channels)
        for (long first = 0; first < s.out_height; first += s.band) {
            long rows = least(s.band, s.out_height - first);
            for (long c = 0; c < channels; c += s.block) {
                long count = least(s.block, channels - c);
                fill(x, affine, act, &s, first, rows, c, count, seen);
                convolve(seen, taps, &s, rows, c, count, z);
                if (gamma) stats_add(&stats, z + c, rows * s.out_width, c, count, channels);
            }
            if (gamma) stats.rows += rows * s.out_width;
            z += rows * out_width;
        }
    if (gamma) stats_end(&stats, gamma, beta, running_mean, running_var, batches, momentum, eps, affine_out);
    free(seen), free(taps);
}

/* From the gradients of z and of its affine to those of x, of x's affine, of the weight (C 9) and of gamma and
 * beta. */
void depthwise_backward(const float *d_z, const float *d_affine_out, const float *z, const float *affine_out,
                        const float *x, const float *affine, int act, const float *weight, long images, long height,
                        long width, long channels, long stride, int learns,
                        float *d_x, float *d_affine, float *d_weight,
                        float *d_norm) {
    Shape s = shape_of(height, width, channels, stride);
    long in_width = width * channels, out_width = s.out_width * channels;
    long in_image = height * in_width, out_image = s.out_height * out_width;
    Correction correction =
        correction_new(affine_out, d_affine_out, channels, learns ? images * s.out_height * s.out_width : 0, d_norm);
    float *seen = input_buffer(&s), *g = output_buffer(&s), *taps = turned(weight, channels, 9);
    float *d_taps = calloc(9 * channels, 4);
    double *sums = affine ? calloc(4 * channels, 8) : NULL;
    for (long n = 0; n < images; n++, x += in_image, d_x += in_image, z += out_image, d_z += out_image)
        for (long first = 0; first < s.out_height; first += s.band) {
            long rows = least(s.band, s.out_height - first), top = first * stride;
            long in_rows = least(rows * stride, height - top);
            for (long c = 0; c < channels; c += s.block) {
                long count = least(s.block, channels - c);
                fill(x, affine, act, &s, first, rows, c, count, seen);
                for (long h = first - 1; h <= first + rows; h++) {
                    float *to = g + (h - first + 1) * s.out_row;
                    if (h < 0 || h >= s.out_height) memset(to, 0, 4 * s.out_row);
                    else
                        corrected(d_z + h * out_width, z + h * out_width, affine_out, &correction, s.out_width, c,
                                  count, channels, to + s.block, s.block);
                }
                weigh(seen, g, &s, rows, c, count, d_taps);
                spread(g, taps, &s, in_rows, c, count, d_x + top * in_width);
                for (long h = 0; h < in_rows; h++)
                    through_activation(d_x + (top + h) * in_width, seen + (h + 1) * s.row + s.block, s.block,
                                       x + (top + h) * in_width, affine, act, width, c, count, channels, sums);
            }
        }
    correction_free(&correction);
    if (affine) as_floats(sums, 4 * channels, d_affine);
    for (long t = 0; t < 9; t++)
        for (long c = 0; c < channels; c++) d_weight[9 * c + t] = d_taps[t * channels + c];
    free(seen), free(g), free(taps), free(d_taps);
}
