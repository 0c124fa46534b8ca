// Binned frames: one pixel for FACTOR x FACTOR, after a low-pass filter with TAPS weights along both axes.

#define BINNED_PER_ROW ((TAPS + FACTOR - 1) / FACTOR)       // binned rows to which a row contributes
#define BINNED_COLUMNS (256 / FACTOR + 1 - BINNED_PER_ROW)  // binned pixels per block, from 256 columns
#define ROWS 40                                             // times FACTOR: rows that a block goes through
#define BINNED_ROWS (ROWS + 1 - BINNED_PER_ROW)             // binned rows that they give
#define ROWS_AT_A_TIME 8                                    // binned rows
#define ROWS_PER_FETCH (FACTOR < 8 ? 8 / FACTOR : 1)        // binned rows whose pixels are fetched together
#define FIRST_TAP                                                                                                      \
    ((FACTOR - 1) / 2 - (TAPS - 1) / 2)  // from the first pixel of a binned pixel to the first of the filter
#define PITCH (256 / FACTOR + 16)

// Corrected frames, zero outside, filtered and decimated: out (frames, binned_height, binned_width), and the sum and
// sum of squares of the pixels of each block: partial (frames, 2, blocks). Each thread filters a column, then parts of
// the rows that come out of all columns.
extern "C" __global__ __launch_bounds__(256) void bin_frames(
    CALIBRATION, const RAW* __restrict__ frames, const float* __restrict__ taps, float* out, int binned_height,
    int binned_width, double* partial)
{
    CALIBRATED;
    __shared__ float line[ROWS_AT_A_TIME][FACTOR][PITCH];  // columns that are FACTOR apart are neighbours
    __shared__ double shared[32];
    // the frame is the fastest index of the grid: blocks at the same place use the same gain
    const int f = blockIdx.x, y0 = blockIdx.z * BINNED_ROWS, x0 = blockIdx.y * BINNED_COLUMNS;
    const int top = y0 * FACTOR + FIRST_TAP, x = x0 * FACTOR + FIRST_TAP + threadIdx.x;
    const bool on_frame = x >= 0 && x < c.w;
    const RAW* frame = frames + (i8)f * c.h * c.w;
    const float mean_count = c.mean_counts[f], limit = c.limits[f] - mean_count;
    float weight[BINNED_PER_ROW * FACTOR], sum[BINNED_PER_ROW];
#pragma unroll
    for (int k = 0; k < BINNED_PER_ROW * FACTOR; k++) weight[k] = k < TAPS ? taps[k] : 0.f;
#pragma unroll
    for (int k = 0; k < BINNED_PER_ROW; k++) sum[k] = 0;
    // whether all that the block reads is on the frame
    const bool whole = top >= 0 && top + ROWS * FACTOR <= c.h && x0 * FACTOR + FIRST_TAP >= 0 &&
                       x0 * FACTOR + FIRST_TAP + 256 <= c.w && !c.dark;
    double total = 0, square = 0;
    for (int first = 0; first < ROWS; first += ROWS_AT_A_TIME) {
#pragma unroll 1
        for (int j0 = 0; j0 < ROWS_AT_A_TIME; j0 += ROWS_PER_FETCH) {
            float v[ROWS_PER_FETCH * FACTOR];
            const int y = top + (first + j0) * FACTOR;
            if (whole) {
                RAW counts[ROWS_PER_FETCH * FACTOR];
                float gains[ROWS_PER_FETCH * FACTOR];
                const RAW* from = frame + (i8)y * c.w + x;
                const float* gain = c.gain + (i8)y * c.w + x;
#pragma unroll
                for (int k = 0; k < ROWS_PER_FETCH * FACTOR; k++) counts[k] = from[k * c.w], gains[k] = gain[k * c.w];
                bool good = true;
#pragma unroll
                for (int k = 0; k < ROWS_PER_FETCH * FACTOR; k++)
                    v[k] = (float)counts[k] * gains[k] - mean_count, good &= v[k] < limit;
                if (!good)
#pragma unroll
                    for (int k = 0; k < ROWS_PER_FETCH * FACTOR; k++)
                        if (!(v[k] < limit))
                            v[k] = gains[k] == gains[k] ? 0.f : mean_count * bad_pixel_value(c, y + k, x);
            } else {
#pragma unroll
                for (int k = 0; k < ROWS_PER_FETCH * FACTOR; k++)
                    v[k] = on_frame && y + k >= 0 && y + k < c.h
                               ? corrected_inside(c, frame, y + k, x, mean_count, limit)
                               : 0.f;
            }
#pragma unroll
            for (int k = 0; k < ROWS_PER_FETCH * FACTOR; k++) {
#pragma unroll
                for (int i = 0; i < BINNED_PER_ROW; i++)
                    sum[i] += weight[(BINNED_PER_ROW - 1 - i) * FACTOR + k % FACTOR] * v[k];
                if (k % FACTOR < FACTOR - 1) continue;
                line[j0 + k / FACTOR][threadIdx.x % FACTOR][threadIdx.x / FACTOR] = sum[0];
#pragma unroll
                for (int i = 1; i < BINNED_PER_ROW; i++) sum[i - 1] = sum[i];
                sum[BINNED_PER_ROW - 1] = 0;
            }
        }
        __syncthreads();
        float batch_total = 0, batch_squares = 0;
        for (int at = threadIdx.x; at < ROWS_AT_A_TIME * BINNED_COLUMNS; at += 256) {
            const int j = at / BINNED_COLUMNS, i = at % BINNED_COLUMNS,
                      row = first + j + 1 - BINNED_PER_ROW;  // the first rows are incomplete
            if (row < 0 || y0 + row >= binned_height || x0 + i >= binned_width) continue;
            float s = 0;
#pragma unroll
            for (int k = 0; k < TAPS; k++) s += weight[k] * line[j][k % FACTOR][i + k / FACTOR];
            out[((i8)f * binned_height + y0 + row) * binned_width + x0 + i] = s;
            batch_total += s;
            batch_squares += s * s;
        }
        total += batch_total, square += batch_squares;
        __syncthreads();
    }
    total = block_sum(total, shared);
    square = block_sum(square, shared);
    if (threadIdx.x == 0) {
        const i8 blocks = gridDim.y * gridDim.z, block = blockIdx.z * gridDim.y + blockIdx.y;
        partial[2 * f * blocks + block] = total;
        partial[(2 * f + 1) * blocks + block] = square;
    }
}
