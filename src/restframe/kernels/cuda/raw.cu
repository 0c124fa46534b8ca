// What reads raw frames: their sum, the small frames, the gather. RAW is their type, TOTAL that of an exact sum.

#define PER_THREAD 8

// total += frames (t, n); partial[frame, warp] = sum of (raw - dark) * gain over the warp's pixels.
extern "C" __global__ __launch_bounds__(256) void add_frames(
    const RAW* __restrict__ frames, const float* __restrict__ gain, const float* __restrict__ dark, TOTAL* total,
    double* partial, int t, i8 n)
{
    const int warps = gridDim.x * 8, warp = blockIdx.x * 8 + threadIdx.x / 32;
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
#pragma unroll 2
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
        for (int e = 16; e; e >>= 1) s += __shfl_down_sync(EVERY, s, e);
        if (threadIdx.x % 32 == 0) partial[(i8)f * warps + warp] = s;
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

// ---- gather: every output pixel takes from each frame where its specimen point was then

#ifndef TX
#define TX 128    // output pixels of a block
#define TY 8
#define EACH 1    // rows of them a thread
#define BLOCKS 1  // of them on a multiprocessor at least
#endif
#define HIGH (TY + 3 + 3)  // corrected pixels that a block holds of one frame
#define WIDE (TX + 3 + 13)
#define ORDER 4  // coefficients of each polynomial

#define FOURS ((IMAGES + 3) / 4)
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

__device__ __forceinline__ int lowest(int v)
{
    for (int d = 16; d; d >>= 1) v = min(v, __shfl_xor_sync(EVERY, v, d));
    return v;
}

// Whole pixels between which the displacements of each block of the gather lie: reach (t, blocks) left, right, low,
// high. One warp for each.
extern "C" __global__ void reach(
    const float2* __restrict__ lattice, int t, int ny, int nx, int spacing, int oh, int ow, int4* out)
{
    const int across = (ow + TX - 1) / TX, blocks = across * ((oh + TY - 1) / TY);
    const int i = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (i >= t * blocks) return;
    const int f = i / blocks, y0 = i % blocks / across * TY, x0 = i % blocks % across * TX;
    const int first = x0 / spacing, n = (min(x0 + TX, ow) - 1) / spacing + 2 - first;
    const float2* u = lattice + ((i8)f * ny + y0 / spacing) * nx + first;
    int4 r = make_int4(1 << 30, 1 << 30, 1 << 30, 1 << 30);
    for (int k = lane; k < 2 * n; k += 32) {
        const float2 v = u[k < n ? k : nx + k - n];
        const int x = (int)floorf(v.x), y = (int)floorf(v.y);
        r = make_int4(min(r.x, x), min(r.y, -x), min(r.z, y), min(r.w, -y));
    }
    r = make_int4(lowest(r.x), -lowest(r.y), lowest(r.z), -lowest(r.w));
    if (lane == 0) out[i] = r;
}

#define THREADS (TX * TY / EACH)
#define LOADS ((HIGH * WIDE + THREADS - 1) / THREADS)  // pixels of a tile that a thread fetches

// One block's pixels of one frame: where they begin, and whether they fit into shared memory.
struct Tile {
    int top, start, tall, wide, low, left, right, high;
    bool fits, whole;
};

__device__ __forceinline__ Tile tile_of(const int4& r, int y0, int x0, int h, int w)
{
    Tile a;
    a.left = r.x, a.right = r.y, a.low = r.z, a.high = r.w;
    a.tall = TY + 3 + a.high - a.low, a.wide = TX + 3 + a.right - a.left;
    a.top = y0 + a.low - 1, a.start = x0 + a.left - 1;
    a.fits = a.tall <= HIGH && a.wide <= WIDE;
    a.whole = a.top >= 0 && a.top + a.tall <= h && a.start >= 0 && a.start + a.wide <= w;
    return a;
}

__device__ __forceinline__ void fetch(
    const Calibration& c, const RAW* frame, const Tile& a, float level, float limit, float (&v)[LOADS])
{
#pragma unroll
    for (int k = 0; k < LOADS; k++) {
        const int at = k * THREADS + threadIdx.x, y = at / WIDE, x = at % WIDE;
        if (!a.fits || y >= a.tall || x >= a.wide) continue;
        v[k] = a.whole ? inside(c, frame, a.top + y, a.start + x, level, limit)
                       : anywhere(c, frame, a.top + y, a.start + x, level, limit);
    }
}

// out[r] += sum over frames of coefficients[r, frame] * frame where the pixel was. lattice (t, ny, nx): displacement at
// every spacing-th output pixel, linear between; output pixel 0 lies at ``origin``. coefficients (frames, 4 FOURS). The
// pixels of the next frame are on their way while those of one are used.
extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void gather(
    CALIBRATION, const RAW* __restrict__ frames, int t, const float2* __restrict__ lattice, int ny, int nx, int spacing,
    int origin, const int4* __restrict__ reaches, const float4* __restrict__ coefficients, float* out, int oh, int ow)
{
    CALIBRATED;
    __shared__ float room[2][HIGH * WIDE];
    extern __shared__ float4 weights[];  // (frames, FOURS)
    for (int k = threadIdx.x; k < t * FOURS; k += THREADS) weights[k] = coefficients[k];
    const int x0 = blockIdx.x * TX, y0 = blockIdx.y * TY;
    const int column = threadIdx.x % TX, x = x0 + column, down = threadIdx.x / TX * EACH, y1 = y0 + down;
    const int ly = y0 / spacing, lx = min(x, ow - 1) / spacing;
    const float step = 1.f / spacing, fx = (x - lx * spacing) * step, fy = (y1 - ly * spacing) * step;
    const int blocks = gridDim.x * gridDim.y;
    reaches += blockIdx.y * gridDim.x + blockIdx.x;
    float sum[4 * FOURS][EACH];
#pragma unroll
    for (int r = 0; r < IMAGES; r++)
#pragma unroll
        for (int j = 0; j < EACH; j++)
            sum[r][j] = x < ow && y1 + j < oh ? out[((i8)r * oh + y1 + j) * ow + x] : 0.f;

    float v[LOADS];
    Tile a = tile_of(reaches[0], y0 + origin, x0 + origin, c.h, c.w), next = a;
    fetch(c, frames, a, c.levels[0], c.limits[0] - c.levels[0], v);
    for (int f = 0; f < t; f++) {
        float* tile = room[f % 2];
#pragma unroll
        for (int k = 0; k < LOADS; k++) {
            const int at = k * THREADS + threadIdx.x;
            if (at < HIGH * WIDE) tile[at] = v[k];
        }
        __syncthreads();
        if (f + 1 < t) {
            next = tile_of(reaches[(i8)(f + 1) * blocks], y0 + origin, x0 + origin, c.h, c.w);
            const float level = c.levels[f + 1];
            fetch(c, frames + (f + 1ll) * c.h * c.w, next, level, c.limits[f + 1] - level, v);
        }
        const float2* u = lattice + ((i8)f * ny + ly) * nx + lx;
        const float2 p = u[0], q = u[1], r = u[nx], s = u[nx + 1];
        const float ux = p.x + fx * (q.x - p.x), uy = p.y + fx * (q.y - p.y);
        const float gx = (r.x + fx * (s.x - r.x) - ux), gy = (r.y + fx * (s.y - r.y) - uy);
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            const float along = fy + j * step, dx = ux + along * gx, dy = uy + along * gy;
            const int ix = min(max((int)floorf(dx), a.left), a.right), iy = min(max((int)floorf(dy), a.low), a.high);
            float wx[4], wy[4], value = 0;
            taps_at(dx - ix - 0.5f, wx);
            taps_at(dy - iy - 0.5f, wy);
            if (a.fits) {
                const float* from = tile + (down + j + iy - a.low) * WIDE + column + ix - a.left;
#pragma unroll
                for (int k = 0; k < 4; k++)
                    value += wy[k] * (wx[0] * from[k * WIDE] + wx[1] * from[k * WIDE + 1] +
                                      wx[2] * from[k * WIDE + 2] + wx[3] * from[k * WIDE + 3]);
            } else {
                const float level = c.levels[f];
                value = from_memory(
                    c, frames + (i8)f * c.h * c.w, y1 + j + origin + iy - 1, x + origin + ix - 1, level,
                    c.limits[f] - level, wy, wx);
            }
#pragma unroll
            for (int k = 0; k < FOURS; k++) {
                const float4 weight = weights[f * FOURS + k];
                sum[4 * k][j] += weight.x * value;
                if (4 * k + 1 < IMAGES) sum[4 * k + 1][j] += weight.y * value;
                if (4 * k + 2 < IMAGES) sum[4 * k + 2][j] += weight.z * value;
                if (4 * k + 3 < IMAGES) sum[4 * k + 3][j] += weight.w * value;
            }
        }
        a = next;
    }
#pragma unroll
    for (int r = 0; r < IMAGES; r++)
#pragma unroll
        for (int j = 0; j < EACH; j++)
            if (x < ow && y1 + j < oh) out[((i8)r * oh + y1 + j) * ow + x] = sum[r][j];
}
