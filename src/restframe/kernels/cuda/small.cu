// Small frames: FACTOR pixels to one, low-passed by TAPS weights both ways; ACROSS x DOWN of them a block.

#define WIDE ((ACROSS - 1) * FACTOR + TAPS)  // pixels that a block needs
#define HIGH ((DOWN - 1) * FACTOR + TAPS)
#define AHEAD ((FACTOR - 1) / 2 - (TAPS - 1) / 2)  // of them before its first small pixel's own

// Corrected frames (zero outside), low-passed, one pixel in FACTOR kept: out (frames, sh, sw). partial[frame, block]: sum
// and sum of squares of what the block made.
extern "C" __global__ __launch_bounds__(256) void small_frames(
    CALIBRATION, const RAW* __restrict__ frames, const float* __restrict__ taps, float* out, int sh, int sw,
    double* partial)
{
    CALIBRATED;
    extern __shared__ float room[];  // HIGH x WIDE corrected pixels, then HIGH x ACROSS with their rows filtered
    __shared__ double shared[32];
    // frames follow each other fastest: their blocks at one place use the same gain
    const int f = blockIdx.x, y0 = blockIdx.z * DOWN, x0 = blockIdx.y * ACROSS;
    const int top = y0 * FACTOR + AHEAD, left = x0 * FACTOR + AHEAD;
    float* narrow = room + HIGH * WIDE;
    const RAW* frame = frames + (i8)f * c.h * c.w;
    const float level = c.levels[f], limit = c.limits[f] - level;
    float weight[TAPS];
#pragma unroll
    for (int k = 0; k < TAPS; k++) weight[k] = taps[k];
    if (top >= 0 && top + HIGH <= c.h && left >= 0 && left + WIDE <= c.w) {
#pragma unroll 8
        for (int at = threadIdx.x; at < HIGH * WIDE; at += 256)
            room[at] = inside(c, frame, top + at / WIDE, left + at % WIDE, level, limit);
    } else {
        for (int at = threadIdx.x; at < HIGH * WIDE; at += 256) {
            const int y = top + at / WIDE, x = left + at % WIDE;
            room[at] = y >= 0 && y < c.h && x >= 0 && x < c.w ? inside(c, frame, y, x, level, limit) : 0.f;
        }
    }
    __syncthreads();
#pragma unroll 4
    for (int at = threadIdx.x; at < HIGH * ACROSS; at += 256) {
        const float* row = room + at / ACROSS * WIDE + at % ACROSS * FACTOR;
        float s = 0;
#pragma unroll
        for (int k = 0; k < TAPS; k++) s += weight[k] * row[k];
        narrow[at] = s;
    }
    __syncthreads();
    double sum = 0, square = 0;
    for (int at = threadIdx.x; at < DOWN * ACROSS; at += 256) {
        const int j = at / ACROSS, i = at % ACROSS, y = y0 + j, x = x0 + i;
        if (y >= sh || x >= sw) continue;
        float s = 0;
#pragma unroll
        for (int k = 0; k < TAPS; k++) s += weight[k] * narrow[(j * FACTOR + k) * ACROSS + i];
        out[((i8)f * sh + y) * sw + x] = s;
        sum += s;
        square += (double)s * s;
    }
    sum = block_sum(sum, shared);
    square = block_sum(square, shared);
    if (threadIdx.x == 0) {
        const i8 blocks = gridDim.y * gridDim.z, block = blockIdx.z * gridDim.y + blockIdx.y;
        partial[2 * f * blocks + block] = sum;
        partial[(2 * f + 1) * blocks + block] = square;
    }
}
