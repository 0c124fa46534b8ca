// Small frames: FACTOR pixels to one, low-passed by TAPS weights both ways.

#define NEAR ((TAPS + FACTOR - 1) / FACTOR)          // small rows that a row goes into
#define ACROSS (256 / FACTOR + 1 - NEAR)             // small pixels of a block: what 256 columns give
#define ROWS 40                                      // times FACTOR rows of a block
#define DOWN (ROWS + 1 - NEAR)                       // small rows that they give
#define BATCH 8                                      // of them that are worked on at a time
#define FETCH (FACTOR < 8 ? 8 / FACTOR : 1)          // whose pixels are fetched together
#define AHEAD ((FACTOR - 1) / 2 - (TAPS - 1) / 2)    // pixels before a small pixel's own
#define PITCH (256 / FACTOR + 16)

// Corrected frames (zero outside), low-passed, one pixel in FACTOR kept: out (frames, sh, sw). partial[frame, block]: sum
// and sum of squares of what the block made. Each thread goes down a column, then along the rows that came out of it.
extern "C" __global__ __launch_bounds__(256) void bin_frames(
    CALIBRATION, const RAW* __restrict__ frames, const float* __restrict__ taps, float* out, int sh, int sw,
    double* partial)
{
    CALIBRATED;
    __shared__ float line[BATCH][FACTOR][PITCH];  // columns that are FACTOR apart follow each other
    __shared__ double shared[32];
    // frames follow each other fastest: their blocks at one place use the same gain
    const int f = blockIdx.x, y0 = blockIdx.z * DOWN, x0 = blockIdx.y * ACROSS;
    const int top = y0 * FACTOR + AHEAD, x = x0 * FACTOR + AHEAD + threadIdx.x;
    const bool there = x >= 0 && x < c.w;
    const RAW* frame = frames + (i8)f * c.h * c.w;
    const float level = c.levels[f], limit = c.limits[f] - level;
    float weight[NEAR * FACTOR], sum[NEAR];
#pragma unroll
    for (int k = 0; k < NEAR * FACTOR; k++) weight[k] = k < TAPS ? taps[k] : 0.f;
#pragma unroll
    for (int k = 0; k < NEAR; k++) sum[k] = 0;
    // all that the block reads is on the frame
    const bool whole = top >= 0 && top + ROWS * FACTOR <= c.h && x0 * FACTOR + AHEAD >= 0 &&
        x0 * FACTOR + AHEAD + 256 <= c.w && !c.dark;
    double total = 0, square = 0;
    for (int first = 0; first < ROWS; first += BATCH) {
#pragma unroll 1
        for (int j0 = 0; j0 < BATCH; j0 += FETCH) {
            float v[FETCH * FACTOR];
            const int y = top + (first + j0) * FACTOR;
            if (whole) {
                RAW counts[FETCH * FACTOR];
                float gains[FETCH * FACTOR];
                const RAW* from = frame + (i8)y * c.w + x;
                const float* gain = c.gain + (i8)y * c.w + x;
#pragma unroll
                for (int k = 0; k < FETCH * FACTOR; k++) counts[k] = from[k * c.w], gains[k] = gain[k * c.w];
                bool good = true;
#pragma unroll
                for (int k = 0; k < FETCH * FACTOR; k++)
                    v[k] = (float)counts[k] * gains[k] - level, good &= v[k] < limit;
                if (!good)
#pragma unroll
                    for (int k = 0; k < FETCH * FACTOR; k++)
                        if (!(v[k] < limit)) v[k] = gains[k] == gains[k] ? 0.f : level * bad_value(c, y + k, x);
            } else {
#pragma unroll
                for (int k = 0; k < FETCH * FACTOR; k++)
                    v[k] = there && y + k >= 0 && y + k < c.h ? inside(c, frame, y + k, x, level, limit) : 0.f;
            }
#pragma unroll
            for (int k = 0; k < FETCH * FACTOR; k++) {
#pragma unroll
                for (int i = 0; i < NEAR; i++) sum[i] += weight[(NEAR - 1 - i) * FACTOR + k % FACTOR] * v[k];
                if (k % FACTOR < FACTOR - 1) continue;
                line[j0 + k / FACTOR][threadIdx.x % FACTOR][threadIdx.x / FACTOR] = sum[0];
#pragma unroll
                for (int i = 1; i < NEAR; i++) sum[i - 1] = sum[i];
                sum[NEAR - 1] = 0;
            }
        }
        __syncthreads();
        float some = 0, squares = 0;
        for (int at = threadIdx.x; at < BATCH * ACROSS; at += 256) {
            const int j = at / ACROSS, i = at % ACROSS, row = first + j + 1 - NEAR;  // the first are not complete
            if (row < 0 || y0 + row >= sh || x0 + i >= sw) continue;
            float s = 0;
#pragma unroll
            for (int k = 0; k < TAPS; k++) s += weight[k] * line[j][k % FACTOR][i + k / FACTOR];
            out[((i8)f * sh + y0 + row) * sw + x0 + i] = s;
            some += s;
            squares += s * s;
        }
        total += some, square += squares;
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
