// Spectra of tiles (p, t, ny = 2m+1, nx = m+1): row m is ky = 0.

// Pieces of one frame (h, w), times window (size, size), zero outside the frame.
template <typename Pixel>
__device__ void cut(
    const Pixel* __restrict__ frame, int h, int w, const int* __restrict__ corners, const float* __restrict__ window,
    int size, float* out)
{
    const int i = blockIdx.y, y0 = corners[2 * i], x0 = corners[2 * i + 1];
    for (int at = blockIdx.x * blockDim.x + threadIdx.x; at < size * size; at += gridDim.x * blockDim.x) {
        const int y = y0 + at / size, x = x0 + at % size;
        const bool there = y >= 0 && y < h && x >= 0 && x < w;
        out[(i8)i * size * size + at] = there ? frame[(i8)y * w + x] * window[at] : 0.f;
    }
}

#define CUT(name, Pixel)                                                                                             \
    extern "C" __global__ void name(                                                                                 \
        const Pixel* frame, int h, int w, const int* corners, const float* window, int size, float* out)             \
    {                                                                                                                \
        cut(frame, h, w, corners, window, size, out);                                                                \
    }
CUT(cut_bytes, i1)
CUT(cut_floats, float)

// The band of full half spectra (p, size, size / 2 + 1) to frame f of re and im.
extern "C" __global__ void keep_band(
    const float2* __restrict__ spectra, int size, int m, int t, int f, half* re, half* im)
{
    const int i = blockIdx.y, ny = 2 * m + 1, nx = m + 1, half = size / 2 + 1;
    const i8 base = ((i8)i * t + f) * ny * nx;
    for (int at = blockIdx.x * blockDim.x + threadIdx.x; at < ny * nx; at += gridDim.x * blockDim.x) {
        const int ky = at / nx - m;
        const float2 v = spectra[((i8)i * size + (ky < 0 ? ky + size : ky)) * half + at % nx];
        re[base + at] = narrow(v.x);
        im[base + at] = narrow(v.y);
    }
}

#define ROWS 26    // rows of a spectrum that a block of `align` works on
#define FRAMES 20  // frames whose phases it holds
#define OWN 6      // coefficients of a thread

// exp(i k step - k² spread / 2)
__device__ float2 faded_phase(int k, float step, float spread)
{
    float s, c;
    sincosf(k * step, &s, &c);
    const float left = expf(-0.5f * spread * k * k);
    return make_float2(left * c, left * s);
}

// R = sum_t G_t exp(i k step_t) and sum_t |G_t|², G_t = F_t exp(-spread_t k²/2); grid (row blocks, p).
extern "C" __global__ __launch_bounds__(512, 2) void align(
    const half* __restrict__ re, const half* __restrict__ im, const float* __restrict__ steps,
    const float* __restrict__ spread, int t, int m, float* total_re, float* total_im, float* total_auto)
{
    extern __shared__ float2 phases[];  // FRAMES rows of nx, then FRAMES of ROWS
    const int nx = m + 1, ny = 2 * m + 1, p = blockIdx.y, y0 = blockIdx.x * ROWS;
    const int n = min(ROWS, ny - y0) * nx;
    float2* rows = phases + FRAMES * nx;
    for (int start = 0; start < n; start += OWN * blockDim.x) {  // once, unless spectra are wide
        float sr[OWN], si[OWN], sa[OWN];
#pragma unroll
        for (int k = 0; k < OWN; k++) sr[k] = si[k] = sa[k] = 0;
        for (int f0 = 0; f0 < t; f0 += FRAMES) {
            const int here = min(FRAMES, t - f0);
            __syncthreads();
            for (int k = threadIdx.x; k < here * (nx + ROWS); k += blockDim.x) {
                const int f = k / (nx + ROWS), c = k % (nx + ROWS);
                const i8 at = (i8)p * t + f0 + f;
                if (c < nx)
                    phases[f * nx + c] = faded_phase(c, steps[2 * at], spread[at]);
                else
                    rows[f * ROWS + c - nx] = faded_phase(y0 + c - nx - m, steps[2 * at + 1], spread[at]);
            }
            __syncthreads();
#pragma unroll
            for (int k = 0; k < OWN; k++) {
                const int at = start + k * blockDim.x + threadIdx.x;
                if (at >= n) continue;
                const int y = at / nx, x = at % nx;
                const i8 base = (((i8)p * t + f0) * ny + y0) * nx + at;
#pragma unroll 5
                for (int f = 0; f < here; f++) {
                    const float a = wide(re[base + (i8)f * ny * nx]), b = wide(im[base + (i8)f * ny * nx]);
                    const float2 u = phases[f * nx + x], v = rows[f * ROWS + y];
                    const float cr = u.x * v.x - u.y * v.y, ci = u.x * v.y + u.y * v.x;
                    const float turned_re = a * cr - b * ci, turned_im = a * ci + b * cr;
                    sr[k] += turned_re;
                    si[k] += turned_im;
                    sa[k] += turned_re * turned_re + turned_im * turned_im;
                }
            }
        }
#pragma unroll
        for (int k = 0; k < OWN; k++) {
            const int at = start + k * blockDim.x + threadIdx.x;
            if (at >= n) continue;
            const i8 o = ((i8)p * ny + y0) * nx + at;
            total_re[o] = sr[k], total_im[o] = si[k], total_auto[o] = sa[k];
        }
    }
}

// Sums over rings: order lists the coefficients of ring 0, then ring 1, ...; one warp for each ring and tile.
extern "C" __global__ void by_ring(
    const float* __restrict__ a, const float* __restrict__ b, const int* __restrict__ order,
    const int* __restrict__ first, const float* __restrict__ weight, int n, int rings, double* out)
{
    const int ring = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, p = blockIdx.y;
    if (ring >= rings) return;
    double s = 0;
    for (int k = first[ring] + threadIdx.x % 32; k < first[ring + 1]; k += 32) {
        const int at = order[k];
        const double v = a[(i8)p * n + at];
        s += (b ? v * v + (double)b[(i8)p * n + at] * b[(i8)p * n + at] : v) * weight[at];
    }
    for (int d = 16; d; d >>= 1) s += __shfl_down_sync(EVERY, s, d);
    if (threadIdx.x % 32 == 0) out[p * rings + ring] = s;
}

// a, b times w of the ring and weight of each coefficient.
extern "C" __global__ void filtered(
    const float* __restrict__ re, const float* __restrict__ im, const float* __restrict__ w,
    const int* __restrict__ ring, const float* __restrict__ weight, int n, int rings, float* out_re, float* out_im)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x, p = blockIdx.y;
    if (at >= n) return;
    const float f = ring[at] >= 0 ? w[p * rings + ring[at]] * weight[at] : 0.f;
    out_re[(i8)p * n + at] = f * re[(i8)p * n + at];
    out_im[(i8)p * n + at] = f * im[(i8)p * n + at];
}

#define SLOPES 4  // frames that a block of `gradient` works on

// -sum_k k Im(conj(weighted) G_t exp(i k step_t)), G as in align; grid (t / SLOPES, p).
extern "C" __global__ __launch_bounds__(256) void gradient(
    const half* __restrict__ re, const half* __restrict__ im, const float* __restrict__ steps,
    const float* __restrict__ spread, const float* __restrict__ weighted_re, const float* __restrict__ weighted_im,
    int t, int m, double* out)
{
    extern __shared__ float2 phases[];  // for each frame nx of the columns, then ny of the rows
    __shared__ double shared[32];
    const int nx = m + 1, ny = 2 * m + 1, f0 = blockIdx.x * SLOPES, p = blockIdx.y, n = nx * ny, all = nx + ny;
    const int here = min(SLOPES, t - f0);
    for (int k = threadIdx.x; k < SLOPES * all; k += blockDim.x) {
        const int c = k % all;
        const i8 at = (i8)p * t + f0 + min(k / all, here - 1);
        phases[k] = faded_phase(c < nx ? c : c - nx - m, steps[2 * at + (c < nx ? 0 : 1)], spread[at]);
    }
    __syncthreads();
    i8 base[SLOPES];
    float gx[SLOPES], gy[SLOPES];
#pragma unroll
    for (int f = 0; f < SLOPES; f++) base[f] = ((i8)p * t + f0 + min(f, here - 1)) * n, gx[f] = gy[f] = 0;
    weighted_re += (i8)p * n, weighted_im += (i8)p * n;
    int y = threadIdx.x / nx, x = threadIdx.x % nx;
    const int down = blockDim.x / nx, across = blockDim.x % nx;
#pragma unroll 2
    for (int at = threadIdx.x; at < n; at += blockDim.x) {
        const float wr = weighted_re[at], wi = weighted_im[at];
#pragma unroll
        for (int f = 0; f < SLOPES; f++) {
            const float2 u = phases[f * all + x], v = phases[f * all + nx + y];
            const float cr = u.x * v.x - u.y * v.y, ci = u.x * v.y + u.y * v.x;
            const float a = wide(re[base[f] + at]), b = wide(im[base[f] + at]);
            const float s = wr * (a * ci + b * cr) - wi * (a * cr - b * ci);
            gx[f] += x * s;
            gy[f] += (y - m) * s;
        }
        y += down, x += across;
        if (x >= nx) x -= nx, y++;
    }
#pragma unroll
    for (int f = 0; f < SLOPES; f++) {
        const double sx = block_sum(gx[f], shared), sy = block_sum(gy[f], shared);
        if (threadIdx.x == 0 && f < here) {
            out[2 * ((i8)p * t + f0 + f)] = -sx;
            out[2 * ((i8)p * t + f0 + f) + 1] = -sy;
        }
    }
}
