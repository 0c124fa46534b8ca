// What reads raw frames: their sum, the small frames, the gather. RAW is their type, TOTAL that of an exact sum.

#define FOURS_EACH 2  // times four pixels of a thread

struct __align__(4 * sizeof(RAW)) Raws {
    RAW v[4];
};

__device__ __forceinline__ Raws four(const RAW* frame, i8 at, i8 n)
{
    if (n % 4 == 0) return *(const Raws*)(frame + at);
    Raws r;
    for (int j = 0; j < 4; j++) r.v[j] = at + j < n ? frame[at + j] : (RAW)0;
    return r;
}

// total += frames (t, n); partial[frame, warp] = sum of (raw - dark) * gain over the warp's pixels.
extern "C" __global__ __launch_bounds__(256, 4) void add_frames(
    const RAW* __restrict__ frames, const float* __restrict__ gain, const float* __restrict__ dark, TOTAL* total,
    double* partial, int t, i8 n)
{
    const int warps = gridDim.x * 8, warp = blockIdx.x * 8 + threadIdx.x / 32;
    TOTAL sum[FOURS_EACH][4];
    float g[FOURS_EACH][4], d[FOURS_EACH][4];
    i8 at[FOURS_EACH];
#pragma unroll
    for (int k = 0; k < FOURS_EACH; k++) {
        const i8 first = 4 * (((i8)blockIdx.x * FOURS_EACH + k) * 256 + threadIdx.x);
        at[k] = first < n ? first : 0;  // read, times nothing
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const bool there = first + j < n;
            g[k][j] = there ? gain[first + j] : 0.f;
            d[k][j] = there && dark ? dark[first + j] : 0.f;
            sum[k][j] = 0;
        }
    }
#pragma unroll 4
    for (int f = 0; f < t; f++) {
        float s = 0;  // of 256 pixels, then on in 64 bits
#pragma unroll
        for (int k = 0; k < FOURS_EACH; k++) {
            const Raws r = four(frames + f * n, at[k], n);
#pragma unroll
            for (int j = 0; j < 4; j++) sum[k][j] += r.v[j], s += ((float)r.v[j] - d[k][j]) * g[k][j];
        }
        for (int e = 16; e; e >>= 1) s += __shfl_down_sync(EVERY, s, e);
        if (threadIdx.x % 32 == 0) partial[(i8)f * warps + warp] = s;
    }
#pragma unroll
    for (int k = 0; k < FOURS_EACH; k++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const i8 here = 4 * (((i8)blockIdx.x * FOURS_EACH + k) * 256 + threadIdx.x) + j;
            if (here < n) total[here] += sum[k][j];
        }
}

// One frame, corrected.
extern "C" __global__ void correct_frame(CALIBRATION, const RAW* __restrict__ frame, int i, float* out)
{
    CALIBRATED;
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x < c.w) out[(i8)y * c.w + x] = inside(c, frame, y, x, c.levels[i], c.limits[i] - c.levels[i]);
}

// ---- gather: every output pixel takes from each frame where its specimen point was then

#ifndef TX
#define TX 64     // output pixels of a block
#define TY 16
#define EACH 4    // rows of them a thread
#define BLOCKS 2  // of them on a multiprocessor at least
#endif
#define HIGH (TY + 3 + 2)  // corrected pixels that a block holds of one frame
#define WIDE (TX + 3 + 6)
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

// Sum of 4 x 4 pixels, rows ``pitch`` apart, weighted for the offset s + 1/2 from the second.
__device__ __forceinline__ float sampled(const float* pixel, int pitch, float sx, float sy)
{
    float wx[4], wy[4], value = 0;
    taps_at(sx, wx);
    taps_at(sy, wy);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const float* row = pixel + k * pitch;
        value += wy[k] * (wx[0] * row[0] + wx[1] * row[1] + wx[2] * row[2] + wx[3] * row[3]);
    }
    return value;
}

// Points of the lattice that a block needs: the first, and how many.
struct Points {
    int y, x, down, across;
};

__device__ __forceinline__ Points points_of(int y0, int x0, int oh, int ow, int spacing)
{
    const int y = y0 / spacing, x = x0 / spacing;
    return {y, x, (min(y0 + TY, oh) - 1) / spacing + 2 - y, (min(x0 + TX, ow) - 1) / spacing + 2 - x};
}

// Whole pixels between which the displacements of each block of the gather lie: reach (t, blocks) left, right, low,
// high.
extern "C" __global__ void displacement_limits(
    const float2* __restrict__ lattice, int t, int ny, int nx, int spacing, int oh, int ow, int4* out)
{
    const int across = (ow + TX - 1) / TX, blocks = across * ((oh + TY - 1) / TY);
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= t * blocks) return;
    const Points n = points_of(i % blocks / across * TY, i % blocks % across * TX, oh, ow, spacing);
    const float2* u = lattice + ((i8)(i / blocks) * ny + n.y) * nx + n.x;
    int4 r = make_int4(1 << 30, -(1 << 30), 1 << 30, -(1 << 30));
    for (int k = 0; k < n.down * n.across; k++) {
        const float2 v = u[k / n.across * nx + k % n.across];
        const int x = (int)floorf(v.x), y = (int)floorf(v.y);
        r = make_int4(min(r.x, x), max(r.y, x), min(r.z, y), max(r.w, y));
    }
    out[i] = r;
}

#define THREADS (TX * TY / EACH)
#define LOADS ((HIGH * WIDE + THREADS - 1) / THREADS)  // pixels of a tile that a thread fetches
#define POINTS ((TX / EACH + 2) * (TY / EACH + 2))     // of the lattice in a block, at most

// Displacement along a row of a lattice cell: at its top, and how it changes to the bottom. ``u``: the corner of the
// cell, ``next``: from there to the next row of the lattice.
struct Moved {
    float x, y, down_x, down_y;
};

__device__ __forceinline__ Moved between(const float2* u, int next, float fx)
{
    const float2 p = u[0], q = u[1], r = u[next], s = u[next + 1];
    Moved m;
    m.x = p.x + fx * (q.x - p.x), m.y = p.y + fx * (q.y - p.y);
    m.down_x = r.x + fx * (s.x - r.x) - m.x, m.down_y = r.y + fx * (s.y - r.y) - m.y;
    return m;
}

// out[r] += sum over frames of coefficients[r, frame] * frame where the pixel was. lattice (t, ny, nx): displacement at
// every spacing-th output pixel, linear between, the spacing a multiple of EACH; output pixel 0 lies at ``origin``.
// coefficients (frames, 4 FOURS). What comes from memory for one frame is on its way while the frame before is summed.
extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void gather(
    CALIBRATION, const RAW* __restrict__ frames, int t, const float2* __restrict__ lattice, int ny, int nx, int spacing,
    int origin, const int4* __restrict__ reaches, const float4* __restrict__ coefficients, float* out, int oh, int ow)
{
    CALIBRATED;
    __shared__ float room[2][HIGH * WIDE];
    __shared__ float2 moved[2][POINTS];
    extern __shared__ float4 weights[];  // (frames, FOURS), then where the displacements lie, then levels and limits
    int4* reach = (int4*)(weights + t * FOURS);
    float2* bounds = (float2*)(reach + t);
    const int x0 = blockIdx.x * TX, y0 = blockIdx.y * TY;
    const int column = threadIdx.x % TX, x = x0 + column, down = threadIdx.x / TX * EACH, y1 = y0 + down;
    const Points n = points_of(y0, x0, oh, ow, spacing);
    const int ly = min(y1, oh - 1) / spacing, lx = min(x, ow - 1) / spacing;
    const float step = 1.f / spacing, fx = (x - lx * spacing) * step, fy = (y1 - ly * spacing) * step;
    for (int k = threadIdx.x; k < t * FOURS; k += THREADS) weights[k] = coefficients[k];
    bool fits = true;
    for (int f = threadIdx.x; f < t; f += THREADS) {
        const int4 r = reaches[((i8)f * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x];
        fits &= TX + 3 + r.y - r.x <= WIDE && TY + 3 + r.w - r.z <= HIGH;
        reach[f] = r;
        bounds[f] = make_float2(c.levels[f], c.limits[f] - c.levels[f]);
    }
    if (!__syncthreads_and(fits)) {  // each sample by itself: its 4 x 4 pixels from memory
        for (int y = y1; y < min(y1 + EACH, oh) && x < ow; y++)
            for (int f = 0; f < t; f++) {
                const Moved m = between(lattice + ((i8)f * ny + ly) * nx + lx, nx, fx);
                const float along = fy + (y - y1) * step, dx = m.x + along * m.down_x, dy = m.y + along * m.down_y;
                const int left = x + origin + (int)floorf(dx) - 1, top = y + origin + (int)floorf(dy) - 1;
                float pixel[16];
                for (int k = 0; k < 16; k++)
                    pixel[k] = anywhere(
                        c, frames + (i8)f * c.h * c.w, top + k / 4, left + k % 4, bounds[f].x, bounds[f].y);
                const float value = sampled(pixel, 4, dx - floorf(dx) - 0.5f, dy - floorf(dy) - 0.5f);
                for (int r = 0; r < IMAGES; r++)
                    out[((i8)r * oh + y) * ow + x] += ((const float*)(weights + f * FOURS))[r] * value;
            }
        return;
    }

    int offset[LOADS];
#pragma unroll
    for (int k = 0; k < LOADS; k++) {
        const int at = k * THREADS + threadIdx.x;
        offset[k] = at < HIGH * WIDE ? at / WIDE * c.w + at % WIDE : 0;
    }
    float sum[4 * FOURS][EACH];
#pragma unroll
    for (int r = 0; r < IMAGES; r++)
#pragma unroll
        for (int j = 0; j < EACH; j++)
            sum[r][j] = x < ow && y1 + j < oh ? out[((i8)r * oh + y1 + j) * ow + x] : 0.f;

    RAW counts[LOADS];
    float gains[LOADS];
    float2 point;
    const int own = (n.y + threadIdx.x / n.across) * nx + n.x + threadIdx.x % n.across;
    const auto corner_of = [&](int f) { return make_int2(y0 + origin + reach[f].z - 1, x0 + origin + reach[f].x - 1); };
    const auto whole = [&](int2 at) { return at.x >= 0 && at.x + HIGH <= c.h && at.y >= 0 && at.y + WIDE <= c.w; };
    const auto fetch = [&](int f) {
        if (threadIdx.x < n.down * n.across) point = lattice[(i8)f * ny * nx + own];
        const int2 at = corner_of(f);
        if (!whole(at)) return;
        const i8 begin = (i8)at.x * c.w + at.y;
        const RAW* frame = frames + (i8)f * c.h * c.w + begin;
#pragma unroll
        for (int k = 0; k < LOADS; k++) counts[k] = frame[offset[k]];
        if (f && corner_of(f - 1).x == at.x && corner_of(f - 1).y == at.y) return;
        const float* gain = c.gain + begin;
#pragma unroll
        for (int k = 0; k < LOADS; k++) gains[k] = gain[offset[k]];
    };
    fetch(0);
    for (int f = 0; f < t; f++) {
        float* tile = room[f % 2];
        const float2 bound = bounds[f];
        const int2 corner = corner_of(f);
        if (threadIdx.x < n.down * n.across) moved[f % 2][threadIdx.x] = point;
        bool good = whole(corner) && !c.dark;
        if (good) {
#pragma unroll
            for (int k = 0; k < LOADS; k++) {
                const int at = k * THREADS + threadIdx.x;
                const float v = (float)counts[k] * gains[k] - bound.x;
                good &= v < bound.y;
                if (at < HIGH * WIDE) tile[at] = v;
            }
        }
        if (!good)  // what is off the frame or bad, with what this thread has beside it
#pragma unroll 1
            for (int at = threadIdx.x; at < HIGH * WIDE; at += THREADS)
                tile[at] = anywhere(
                    c, frames + (i8)f * c.h * c.w, corner.x + at / WIDE, corner.y + at % WIDE, bound.x, bound.y);
        __syncthreads();
        if (f + 1 < t) fetch(f + 1);
        const Moved m = between(moved[f % 2] + (ly - n.y) * n.across + lx - n.x, n.across, fx);
        const int4 r = reach[f];
        const int ix = min(max((int)floorf(m.x + fy * m.down_x), r.x), r.y);
        const int iy = min(max((int)floorf(m.y + fy * m.down_y), r.z), r.w);
        const float* from = tile + (down + iy - r.z) * WIDE + column + ix - r.x;
        float sx[EACH], sy[EACH], value[EACH];
        bool together = true;  // all take the same whole displacement, so that their pixels overlap
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            const float along = fy + j * step;
            sx[j] = m.x + along * m.down_x - ix - 0.5f, sy[j] = m.y + along * m.down_y - iy - 0.5f;
            together &= fabsf(sx[j]) <= 0.5f && fabsf(sy[j]) <= 0.5f;
        }
        if (together) {
            float pixel[EACH + 3][4];
#pragma unroll
            for (int k = 0; k < (EACH + 3) * 4; k++) pixel[k / 4][k % 4] = from[k / 4 * WIDE + k % 4];
#pragma unroll
            for (int j = 0; j < EACH; j++) value[j] = sampled(&pixel[j][0], 4, sx[j], sy[j]);
        } else {
#pragma unroll
            for (int j = 0; j < EACH; j++) {
                const int jx = min(max((int)floorf(sx[j] + 0.5f), r.x - ix), r.y - ix);
                const int jy = min(max((int)floorf(sy[j] + 0.5f), r.z - iy), r.w - iy);
                value[j] = sampled(from + (j + jy) * WIDE + jx, WIDE, sx[j] - jx, sy[j] - jy);
            }
        }
#pragma unroll
        for (int k = 0; k < FOURS; k++) {
            const float4 weight = weights[f * FOURS + k];
#pragma unroll
            for (int j = 0; j < EACH; j++) {
                sum[4 * k][j] += weight.x * value[j];
                if (4 * k + 1 < IMAGES) sum[4 * k + 1][j] += weight.y * value[j];
                if (4 * k + 2 < IMAGES) sum[4 * k + 2][j] += weight.z * value[j];
                if (4 * k + 3 < IMAGES) sum[4 * k + 3][j] += weight.w * value[j];
            }
        }
    }
#pragma unroll
    for (int r = 0; r < IMAGES; r++)
#pragma unroll
        for (int j = 0; j < EACH; j++)
            if (x < ow && y1 + j < oh) out[((i8)r * oh + y1 + j) * ow + x] = sum[r][j];
}
