// Kernels that read raw frames: their sum, single corrected frames, the gather. RAW: their type, TOTAL: of exact sums.

#define QUADS_PER_THREAD 2  // times four pixels

struct __align__(4 * sizeof(RAW)) RawQuad {
    RAW v[4];
};

__device__ __forceinline__ RawQuad load_quad(const RAW* frame, i8 at, i8 n)
{
    if (n % 4 == 0) return *(const RawQuad*)(frame + at);
    RawQuad r;
    for (int j = 0; j < 4; j++) r.v[j] = at + j < n ? frame[at + j] : (RAW)0;
    return r;
}

// total += frames (t, n); partial[frame, warp] = sum of (raw - dark) * gain over the warp's pixels.
extern "C" __global__ __launch_bounds__(256, 4) void add_frames(
    const RAW* __restrict__ frames, const float* __restrict__ gain, const float* __restrict__ dark, TOTAL* total,
    double* partial, int frame_count, i8 n)
{
    const int warps = gridDim.x * 8, warp = blockIdx.x * 8 + threadIdx.x / 32;
    TOTAL sum[QUADS_PER_THREAD][4];
    float g[QUADS_PER_THREAD][4], d[QUADS_PER_THREAD][4];
    i8 at[QUADS_PER_THREAD];
#pragma unroll
    for (int k = 0; k < QUADS_PER_THREAD; k++) {
        const i8 first = 4 * (((i8)blockIdx.x * QUADS_PER_THREAD + k) * 256 + threadIdx.x);
        at[k] = first < n ? first : 0;  // is read, but counts zero
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const bool there = first + j < n;
            g[k][j] = there ? gain[first + j] : 0.f;
            d[k][j] = there && dark ? dark[first + j] : 0.f;
            sum[k][j] = 0;
        }
    }
#pragma unroll 4
    for (int f = 0; f < frame_count; f++) {
        float s = 0;  // of 256 pixels, later in 64 bits
#pragma unroll
        for (int k = 0; k < QUADS_PER_THREAD; k++) {
            const RawQuad r = load_quad(frames + f * n, at[k], n);
#pragma unroll
            for (int j = 0; j < 4; j++) sum[k][j] += r.v[j], s += ((float)r.v[j] - d[k][j]) * g[k][j];
        }
        for (int e = 16; e; e >>= 1) s += __shfl_down_sync(ALL_LANES, s, e);
        if (threadIdx.x % 32 == 0) partial[(i8)f * warps + warp] = s;
    }
#pragma unroll
    for (int k = 0; k < QUADS_PER_THREAD; k++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const i8 here = 4 * (((i8)blockIdx.x * QUADS_PER_THREAD + k) * 256 + threadIdx.x) + j;
            if (here < n) total[here] += sum[k][j];
        }
}

// `Kernels.corrected_frame`.
extern "C" __global__ void correct_frame(CALIBRATION, const RAW* __restrict__ frame, int i, float* out)
{
    CALIBRATED;
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x < c.w)
        out[(i8)y * c.w + x] = corrected_inside(c, frame, y, x, c.mean_counts[i], c.limits[i] - c.mean_counts[i]);
}

// ---- gather: each output pixel samples each frame where its point of the specimen was then

#ifndef TX
#define TX 64  // output pixels per block
#define TY 16
#define EACH 4    // of these rows per thread
#define BLOCKS 2  // blocks that fit on a multiprocessor, at least
#endif
#define TILE_HEIGHT (TY + 3 + 2)  // corrected pixels that a block holds of one frame
#define TILE_WIDTH (TX + 3 + 6)
#define TERMS 4  // coefficients of each polynomial

#define QUADS ((IMAGES + 3) / 4)
__constant__ float polynomials[4][TERMS];  // even and odd part of weight 0, of weight 1

// The four weights at offset s + 1/2; 3 and 2 are those of 0 and 1 at -s.
__device__ __forceinline__ void tap_weights(float s, float (&w)[4])
{
    const float q = s * s;
    float v[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        v[i] = polynomials[i][TERMS - 1];
#pragma unroll
        for (int k = TERMS - 2; k >= 0; k--) v[i] = v[i] * q + polynomials[i][k];
    }
    w[0] = v[0] + s * v[1];
    w[3] = v[0] - s * v[1];
    w[1] = v[2] + s * v[3];
    w[2] = v[2] - s * v[3];
}

// Weighted sum of 4 x 4 pixels, rows ``pitch`` apart, at offset (sx, sy) + 1/2 from the second pixel of either axis.
__device__ __forceinline__ float sampled(const float* pixel, int pitch, float sx, float sy)
{
    float wx[4], wy[4], value = 0;
    tap_weights(sx, wx);
    tap_weights(sy, wy);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const float* row = pixel + k * pitch;
        value += wy[k] * (wx[0] * row[0] + wx[1] * row[1] + wx[2] * row[2] + wx[3] * row[3]);
    }
    return value;
}

// The grid points that a block needs: the first, and how many.
struct GridPoints {
    int y, x, down, across;
};

__device__ __forceinline__ GridPoints grid_points(int y0, int x0, int out_height, int out_width, int spacing)
{
    const int y = y0 / spacing, x = x0 / spacing;
    return {y, x, (min(y0 + TY, out_height) - 1) / spacing + 2 - y, (min(x0 + TX, out_width) - 1) / spacing + 2 - x};
}

// Whole pixels between which the displacements of each block of the gather lie: out (t, blocks) left, right, low, high.
extern "C" __global__ void displacement_limits(
    const float2* __restrict__ grid, int frame_count, int grid_rows, int grid_columns, int spacing, int out_height,
    int out_width, int4* out)
{
    const int across = (out_width + TX - 1) / TX, blocks = across * ((out_height + TY - 1) / TY);
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= frame_count * blocks) return;
    const GridPoints n =
        grid_points(i % blocks / across * TY, i % blocks % across * TX, out_height, out_width, spacing);
    const float2* u = grid + ((i8)(i / blocks) * grid_rows + n.y) * grid_columns + n.x;
    int4 r = make_int4(1 << 30, -(1 << 30), 1 << 30, -(1 << 30));
    for (int k = 0; k < n.down * n.across; k++) {
        const float2 v = u[k / n.across * grid_columns + k % n.across];
        const int x = (int)floorf(v.x), y = (int)floorf(v.y);
        r = make_int4(min(r.x, x), max(r.y, x), min(r.z, y), max(r.w, y));
    }
    out[i] = r;
}

#define THREADS (TX * TY / EACH)
#define PIXELS_PER_THREAD ((TILE_HEIGHT * TILE_WIDTH + THREADS - 1) / THREADS)  // of a tile
#define MAX_POINTS ((TX / EACH + 2) * (TY / EACH + 2))                          // grid points of a block, at most

// Displacement at one column of a grid cell: at its top, and its change to the bottom. ``u``: the first corner of the
// cell, ``next``: the distance to the next row of grid points.
struct RowDisplacement {
    float x, y, down_x, down_y;
};

__device__ __forceinline__ RowDisplacement row_displacement(const float2* u, int next, float fx)
{
    const float2 p = u[0], q = u[1], r = u[next], s = u[next + 1];
    RowDisplacement m;
    m.x = p.x + fx * (q.x - p.x), m.y = p.y + fx * (q.y - p.y);
    m.down_x = r.x + fx * (s.x - r.x) - m.x, m.down_y = r.y + fx * (s.y - r.y) - m.y;
    return m;
}

// `Kernels.gather`: grid (t, grid_rows, grid_columns), the spacing a multiple of EACH, coefficients (t, 4 QUADS), out
// (IMAGES, out_height, out_width). While one frame is summed, the next is fetched from memory.
extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void gather(
    CALIBRATION, const RAW* __restrict__ frames, int frame_count, const float2* __restrict__ grid, int grid_rows,
    int grid_columns, int spacing, int origin, const int4* __restrict__ block_limits,
    const float4* __restrict__ coefficients, float* out, int out_height, int out_width)
{
    CALIBRATED;
    __shared__ float tiles[2][TILE_HEIGHT * TILE_WIDTH];
    __shared__ float2 tile_points[2][MAX_POINTS];
    extern __shared__ float4
        weights[];  // (t, QUADS), then limits of displacements, then mean counts and limits of counts
    int4* own_limits = (int4*)(weights + frame_count * QUADS);
    float2* count_limits = (float2*)(own_limits + frame_count);
    const int x0 = blockIdx.x * TX, y0 = blockIdx.y * TY;
    const int column = threadIdx.x % TX, x = x0 + column, down = threadIdx.x / TX * EACH, y1 = y0 + down;
    const GridPoints n = grid_points(y0, x0, out_height, out_width, spacing);
    const int ly = min(y1, out_height - 1) / spacing, lx = min(x, out_width - 1) / spacing;
    const float step = 1.f / spacing, fx = (x - lx * spacing) * step, fy = (y1 - ly * spacing) * step;
    for (int k = threadIdx.x; k < frame_count * QUADS; k += THREADS) weights[k] = coefficients[k];
    bool fits = true;
    for (int f = threadIdx.x; f < frame_count; f += THREADS) {
        const int4 r = block_limits[((i8)f * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x];
        fits &= TX + 3 + r.y - r.x <= TILE_WIDTH && TY + 3 + r.w - r.z <= TILE_HEIGHT;
        own_limits[f] = r;
        count_limits[f] = make_float2(c.mean_counts[f], c.limits[f] - c.mean_counts[f]);
    }
    if (!__syncthreads_and(
            fits)) {  // too many pixels for shared memory: the 4 x 4 pixels of each sample from global memory
        for (int y = y1; y < min(y1 + EACH, out_height) && x < out_width; y++)
            for (int f = 0; f < frame_count; f++) {
                const RowDisplacement m =
                    row_displacement(grid + ((i8)f * grid_rows + ly) * grid_columns + lx, grid_columns, fx);
                const float along = fy + (y - y1) * step, dx = m.x + along * m.down_x, dy = m.y + along * m.down_y;
                const int left = x + origin + (int)floorf(dx) - 1, top = y + origin + (int)floorf(dy) - 1;
                float pixel[16];
                for (int k = 0; k < 16; k++)
                    pixel[k] = corrected_anywhere(
                        c, frames + (i8)f * c.h * c.w, top + k / 4, left + k % 4, count_limits[f].x, count_limits[f].y);
                const float value = sampled(pixel, 4, dx - floorf(dx) - 0.5f, dy - floorf(dy) - 0.5f);
                for (int r = 0; r < IMAGES; r++)
                    out[((i8)r * out_height + y) * out_width + x] += ((const float*)(weights + f * QUADS))[r] * value;
            }
        return;
    }

    int offset[PIXELS_PER_THREAD];
#pragma unroll
    for (int k = 0; k < PIXELS_PER_THREAD; k++) {
        const int at = k * THREADS + threadIdx.x;
        offset[k] = at < TILE_HEIGHT * TILE_WIDTH ? at / TILE_WIDTH * c.w + at % TILE_WIDTH : 0;
    }
    float sum[4 * QUADS][EACH];
#pragma unroll
    for (int r = 0; r < IMAGES; r++)
#pragma unroll
        for (int j = 0; j < EACH; j++)
            sum[r][j] = x < out_width && y1 + j < out_height ? out[((i8)r * out_height + y1 + j) * out_width + x] : 0.f;

    RAW counts[PIXELS_PER_THREAD];
    float gains[PIXELS_PER_THREAD];
    float2 point;
    const int own = (n.y + threadIdx.x / n.across) * grid_columns + n.x + threadIdx.x % n.across;
    const auto corner_of = [&](int f) {
        return make_int2(y0 + origin + own_limits[f].z - 1, x0 + origin + own_limits[f].x - 1);
    };
    const auto whole = [&](int2 at) {
        return at.x >= 0 && at.x + TILE_HEIGHT <= c.h && at.y >= 0 && at.y + TILE_WIDTH <= c.w;
    };
    const auto fetch = [&](int f) {
        if (threadIdx.x < n.down * n.across) point = grid[(i8)f * grid_rows * grid_columns + own];
        const int2 at = corner_of(f);
        if (!whole(at)) return;
        const i8 begin = (i8)at.x * c.w + at.y;
        const RAW* frame = frames + (i8)f * c.h * c.w + begin;
#pragma unroll
        for (int k = 0; k < PIXELS_PER_THREAD; k++) counts[k] = frame[offset[k]];
        if (f && corner_of(f - 1).x == at.x && corner_of(f - 1).y == at.y) return;
        const float* gain = c.gain + begin;
#pragma unroll
        for (int k = 0; k < PIXELS_PER_THREAD; k++) gains[k] = gain[offset[k]];
    };
    fetch(0);
    for (int f = 0; f < frame_count; f++) {
        float* tile = tiles[f % 2];
        const float2 count_limit = count_limits[f];
        const int2 corner = corner_of(f);
        if (threadIdx.x < n.down * n.across) tile_points[f % 2][threadIdx.x] = point;
        bool good = whole(corner) && !c.dark;
        if (good) {
#pragma unroll
            for (int k = 0; k < PIXELS_PER_THREAD; k++) {
                const int at = k * THREADS + threadIdx.x;
                const float v = (float)counts[k] * gains[k] - count_limit.x;
                good &= v < count_limit.y;
                if (at < TILE_HEIGHT * TILE_WIDTH) tile[at] = v;
            }
        }
        if (!good)  // off the frame or bad: all pixels of this thread once more
#pragma unroll 1
            for (int at = threadIdx.x; at < TILE_HEIGHT * TILE_WIDTH; at += THREADS)
                tile[at] = corrected_anywhere(
                    c, frames + (i8)f * c.h * c.w, corner.x + at / TILE_WIDTH, corner.y + at % TILE_WIDTH,
                    count_limit.x, count_limit.y);
        __syncthreads();
        if (f + 1 < frame_count) fetch(f + 1);
        const RowDisplacement m = row_displacement(tile_points[f % 2] + (ly - n.y) * n.across + lx - n.x, n.across, fx);
        const int4 r = own_limits[f];
        const int ix = min(max((int)floorf(m.x + fy * m.down_x), r.x), r.y);
        const int iy = min(max((int)floorf(m.y + fy * m.down_y), r.z), r.w);
        const float* from = tile + (down + iy - r.z) * TILE_WIDTH + column + ix - r.x;
        float sx[EACH], sy[EACH], value[EACH];
        bool same_pixels = true;  // whether all have the same whole displacement, so that their pixels overlap
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            const float along = fy + j * step;
            sx[j] = m.x + along * m.down_x - ix - 0.5f, sy[j] = m.y + along * m.down_y - iy - 0.5f;
            same_pixels &= fabsf(sx[j]) <= 0.5f && fabsf(sy[j]) <= 0.5f;
        }
        if (same_pixels) {
            float pixel[EACH + 3][4];
#pragma unroll
            for (int k = 0; k < (EACH + 3) * 4; k++) pixel[k / 4][k % 4] = from[k / 4 * TILE_WIDTH + k % 4];
#pragma unroll
            for (int j = 0; j < EACH; j++) value[j] = sampled(&pixel[j][0], 4, sx[j], sy[j]);
        } else {
#pragma unroll
            for (int j = 0; j < EACH; j++) {
                const int jx = min(max((int)floorf(sx[j] + 0.5f), r.x - ix), r.y - ix);
                const int jy = min(max((int)floorf(sy[j] + 0.5f), r.z - iy), r.w - iy);
                value[j] = sampled(from + (j + jy) * TILE_WIDTH + jx, TILE_WIDTH, sx[j] - jx, sy[j] - jy);
            }
        }
#pragma unroll
        for (int k = 0; k < QUADS; k++) {
            const float4 weight = weights[f * QUADS + k];
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
            if (x < out_width && y1 + j < out_height) out[((i8)r * out_height + y1 + j) * out_width + x] = sum[r][j];
}
