// What reads raw frames: their sum, the small frames, the gather. RAW is their type, TOTAL that of an exact sum.

// Raw counts to corrected ones (detector/calibration.py). Bad pixels have gain NaN.
struct Calibration {
    const float* gain;  // (h, w)
    const float* dark;  // (h, w) or null
    const float* levels;
    const float* limits;
    const i8* first;
    const i8* columns;
    const float* values;
    const float* edge_rows;
    const float* edge_columns;
    int h, w;
};

// A kernel's first parameters, and what they become.
#define CALIBRATION                                                                                                   \
    const float *gain, const float *dark, const float *levels, const float *limits, const i8 *first,                  \
        const i8 *columns, const float *values, const float *edge_rows, const float *edge_columns, int h, int w
#define CALIBRATED \
    const Calibration c = {gain, dark, levels, limits, first, columns, values, edge_rows, edge_columns, h, w}

__device__ float bad_value(const Calibration& c, int y, int x)
{
    i8 low = c.first[y], high = c.first[y + 1];
    while (high - low > 1) {
        const i8 middle = (low + high) / 2;
        if (c.columns[middle] <= x) low = middle;
        else high = middle;
    }
    return c.values[low];
}

// Corrected count at y, x of the frame, less its level.
__device__ __forceinline__ float inside(const Calibration& c, const RAW* frame, int y, int x, float level, float limit)
{
    const i8 at = (i8)y * c.w + x;
    const float g = c.gain[at];
    float v = (float)frame[at];
    if (c.dark) v -= c.dark[at];
    v = v * g - level;
    if (v < limit) return v;
    return g == g ? 0.f : level * bad_value(c, y, x);
}

// The same anywhere: off the frame, the local mean of the nearest edge.
__device__ __forceinline__ float anywhere(
    const Calibration& c, const RAW* frame, int y, int x, float level, float limit)
{
    if (y < 0 || y >= c.h) return level * c.edge_rows[(y < 0 ? 0 : c.w) + min(max(x, 0), c.w - 1)];
    if (x < 0 || x >= c.w) return level * c.edge_columns[(x < 0 ? 0 : c.h) + y];
    return inside(c, frame, y, x, level, limit);
}

#define PER_THREAD 8

// total += frames (t, n); partial[frame, block] = sum of (raw - dark) * gain over the block's pixels.
extern "C" __global__ __launch_bounds__(256) void add_frames(
    const RAW* __restrict__ frames, const float* __restrict__ gain, const float* __restrict__ dark, TOTAL* total,
    double* partial, int t, i8 n)
{
    __shared__ double shared[32];
    TOTAL sum[PER_THREAD];
    float g[PER_THREAD], d[PER_THREAD];
    i8 at[PER_THREAD];
#pragma unroll
    for (int k = 0; k < PER_THREAD; k++) {
        at[k] = ((i8)blockIdx.x * PER_THREAD + k) * blockDim.x + threadIdx.x;
        const bool there = at[k] < n;
        g[k] = there ? gain[at[k]] : 0.f;
        d[k] = there && dark ? dark[at[k]] : 0.f;
        sum[k] = 0;
        if (!there) at[k] = 0;  // read, times nothing
    }
    for (int f = 0; f < t; f++) {
        const RAW* frame = frames + f * n;
        double s = 0;
        float part = 0;
#pragma unroll
        for (int k = 0; k < PER_THREAD; k++) {
            const RAW v = frame[at[k]];
            sum[k] += v;
            part += ((float)v - d[k]) * g[k];
            if (k % 4 == 3) s += part, part = 0;
        }
        s = block_sum(s, shared);
        if (threadIdx.x == 0) partial[(i8)f * gridDim.x + blockIdx.x] = s;
    }
#pragma unroll
    for (int k = 0; k < PER_THREAD; k++) {
        const i8 here = ((i8)blockIdx.x * PER_THREAD + k) * blockDim.x + threadIdx.x;
        if (here < n) total[here] += sum[k];
    }
}

// One frame, corrected.
extern "C" __global__ void corrected(CALIBRATION, const RAW* __restrict__ frame, int i, float* out)
{
    CALIBRATED;
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x < c.w) out[(i8)y * c.w + x] = inside(c, frame, y, x, c.levels[i], c.limits[i] - c.levels[i]);
}

// Corrected frames, low-passed by ``taps`` both ways (zero outside), one pixel in ``factor`` kept: out (frames, sh, sw).
// A block makes across x down small pixels; shared memory: its corrected pixels, then those with their rows filtered.
// partial[frame, block]: sum and sum of squares of what the block made.
extern "C" __global__ void small_frames(
    CALIBRATION, const RAW* __restrict__ frames, const float* __restrict__ taps, int n_taps, int factor, int across,
    int down, float* out, int sh, int sw, double* partial)
{
    CALIBRATED;
    extern __shared__ float room[];
    __shared__ double shared[32];
    const int f = blockIdx.z, ahead = (factor - 1) / 2 - (n_taps - 1) / 2;
    const int high = (down - 1) * factor + n_taps, wide = (across - 1) * factor + n_taps;
    const int y0 = blockIdx.y * down, x0 = blockIdx.x * across;
    float* narrow = room + high * wide;
    const RAW* frame = frames + (i8)f * c.h * c.w;
    const float level = c.levels[f], limit = c.limits[f] - level;
    for (int j = threadIdx.x / 32; j < high; j += blockDim.x / 32) {
        const int y = y0 * factor + ahead + j;
        for (int i = threadIdx.x % 32; i < wide; i += 32) {
            const int x = x0 * factor + ahead + i;
            room[j * wide + i] = y >= 0 && y < c.h && x >= 0 && x < c.w ? inside(c, frame, y, x, level, limit) : 0.f;
        }
    }
    __syncthreads();
    for (int at = threadIdx.x; at < high * across; at += blockDim.x) {
        const float* row = room + at / across * wide + at % across * factor;
        float s = 0;
        for (int k = 0; k < n_taps; k++) s += taps[k] * row[k];
        narrow[at] = s;
    }
    __syncthreads();
    double sum = 0, square = 0;
    for (int at = threadIdx.x; at < down * across; at += blockDim.x) {
        const int j = at / across, i = at % across, y = y0 + j, x = x0 + i;
        if (y >= sh || x >= sw) continue;
        float s = 0;
        for (int k = 0; k < n_taps; k++) s += taps[k] * narrow[(j * factor + k) * across + i];
        out[((i8)f * sh + y) * sw + x] = s;
        sum += s;
        square += (double)s * s;
    }
    sum = block_sum(sum, shared);
    square = block_sum(square, shared);
    if (threadIdx.x == 0) {
        const i8 blocks = gridDim.x * gridDim.y, block = blockIdx.y * gridDim.x + blockIdx.x;
        partial[2 * f * blocks + block] = sum;
        partial[(2 * f + 1) * blocks + block] = square;
    }
}

// ---- gather: every output pixel takes from each frame where its specimen point was then

#ifndef TX
#define TX 128  // output pixels of a block
#define TY 8
#define EACH 2  // rows of them a thread
#define BLOCKS 1  // of them on a multiprocessor at least
#endif
#define WARPS (TX / 32 * TY / EACH)
#define HIGH (TY + 3 + 6)  // corrected pixels that a block holds of one frame
#define WIDE (TX + 3 + 13)
#define ORDER 4  // coefficients of each polynomial

__constant__ float polynomials[4][ORDER];  // even and odd part of weight 0, of weight 1

// The four weights at offset s + 1/2; 3 and 2 mirror 0 and 1.
__device__ __forceinline__ void taps_at(float s, float (&w)[4])
{
    const float q = s * s;
    float v[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        v[i] = polynomials[i][ORDER - 1];
#pragma unroll
        for (int k = ORDER - 2; k >= 0; k--) v[i] = v[i] * q + polynomials[i][k];
    }
    w[0] = v[0] + s * v[1];
    w[3] = v[0] - s * v[1];
    w[1] = v[2] + s * v[3];
    w[2] = v[2] - s * v[3];
}


__device__ __forceinline__ int lowest(int v)
{
    for (int d = 16; d; d >>= 1) v = min(v, __shfl_xor_sync(EVERY, v, d));
    return v;
}

// A sample whose tile would be too large: 4 x 4 pixels from y, x on.
__device__ __noinline__ float from_memory(
    const Calibration& c, const RAW* frame, int y, int x, float level, float limit, const float (&wy)[4],
    const float (&wx)[4])
{
    float v = 0;
    for (int k = 0; k < 4; k++)
        for (int m = 0; m < 4; m++) v += wy[k] * wx[m] * anywhere(c, frame, y + k, x + m, level, limit);
    return v;
}

// out[r] += sum over frames of coefficients[r, frame] * frame where the pixel was. lattice (t, ny, nx): displacement at
// every spacing-th output pixel, linear between; output pixel 0 lies at ``origin``.
extern "C" __global__ __launch_bounds__(TX * TY / EACH, BLOCKS) void gather(
    CALIBRATION, const RAW* __restrict__ frames, int t, const float2* __restrict__ lattice, int ny, int nx, int spacing,
    int origin, const float* __restrict__ coefficients, float* out, int oh, int ow)
{
    CALIBRATED;
    __shared__ float tile[HIGH * WIDE];
    const int x0 = blockIdx.x * TX, y0 = blockIdx.y * TY;
    const int column = threadIdx.x % TX, x = x0 + column, down = threadIdx.x / TX * EACH, y1 = y0 + down;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int ly = y0 / spacing, lx = min(x, ow - 1) / spacing;
    const float fx = (float)(x - lx * spacing) / spacing, fy = (float)(y1 - ly * spacing) / spacing;
    const int lx0 = x0 / spacing, lx1 = min(min(x0 + TX, ow) - 1, ow - 1) / spacing + 1, across = lx1 - lx0 + 1;
    float sum[IMAGES][EACH];
#pragma unroll
    for (int r = 0; r < IMAGES; r++)
#pragma unroll
        for (int j = 0; j < EACH; j++)
            sum[r][j] = x < ow && y1 + j < oh ? out[((i8)r * oh + y1 + j) * ow + x] : 0.f;

    for (int f = 0; f < t; f++) {
        const float2* u = lattice + ((i8)f * ny + ly) * nx;
        int low = 1 << 30, high = low, left = low, right = low;
        for (int k = lane; k < 2 * across; k += 32) {
            const float2 v = u[(k < across ? 0 : nx - across) + lx0 + k];
            const int ix = (int)floorf(v.x), iy = (int)floorf(v.y);
            left = min(left, ix), right = min(right, -ix), low = min(low, iy), high = min(high, -iy);
        }
        left = lowest(left), right = -lowest(right), low = lowest(low), high = -lowest(high);
        const int tall = TY + 3 + high - low, wide = TX + 3 + right - left;
        const int top = y0 + origin + low - 1, start = x0 + origin + left - 1;  // the tile's first pixel
        const bool fits = tall <= HIGH && wide <= WIDE;
        const RAW* frame = frames + (i8)f * c.h * c.w;
        const float level = c.levels[f], limit = c.limits[f] - level;
        if (fits) {
            __syncthreads();
            const bool whole = top >= 0 && top + tall <= c.h && start >= 0 && start + wide <= c.w;
#pragma unroll 1
            for (int j = warp; j < tall; j += WARPS)
#pragma unroll 1
                for (int i = lane; i < wide; i += 32)
                    tile[j * WIDE + i] = whole ? inside(c, frame, top + j, start + i, level, limit)
                                               : anywhere(c, frame, top + j, start + i, level, limit);
            __syncthreads();
        }
        const float2 a = u[lx], b = u[lx + 1], d = u[nx + lx], e = u[nx + lx + 1];
        const float ux = a.x + fx * (b.x - a.x), uy = a.y + fx * (b.y - a.y);
        const float gx = (d.x + fx * (e.x - d.x) - ux), gy = (d.y + fx * (e.y - d.y) - uy);
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            const float along = fy + j * (1.f / spacing);
            const float dx = ux + along * gx, dy = uy + along * gy;
            const int ix = min(max((int)floorf(dx), left), right), iy = min(max((int)floorf(dy), low), high);
            float wx[4], wy[4];
            taps_at(dx - ix - 0.5f, wx);
            taps_at(dy - iy - 0.5f, wy);
            float v = 0;
            if (fits) {
                const float* p = tile + (down + j + iy - low) * WIDE + column + ix - left;
#pragma unroll
                for (int k = 0; k < 4; k++)
                    v += wy[k] * (wx[0] * p[k * WIDE] + wx[1] * p[k * WIDE + 1] + wx[2] * p[k * WIDE + 2] +
                                  wx[3] * p[k * WIDE + 3]);
            } else {
                v = from_memory(c, frame, y1 + j + origin + iy - 1, x + origin + ix - 1, level, limit, wy, wx);
            }
#pragma unroll
            for (int r = 0; r < IMAGES; r++) sum[r][j] += coefficients[r * t + f] * v;
        }
    }
#pragma unroll
    for (int r = 0; r < IMAGES; r++)
#pragma unroll
        for (int j = 0; j < EACH; j++)
            if (x < ow && y1 + j < oh) out[((i8)r * oh + y1 + j) * ow + x] = sum[r][j];
}
