// Spectra of tiles (p, t, ny = 2m+1, nx = m+1): row m is ky = 0. ``pitch``: numbers from one row to the next, a multiple of
// four, so that four are read at a time; those beyond nx are zero. Nothing reads or makes more than the band, where rings
// are: |k| < m + 1/2.

typedef uint2 Halves;  // four

struct Four {
    float v[4];
};

__device__ __forceinline__ void both(u4 bits, float& a, float& b)
{
    asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}" : "=f"(a), "=f"(b) : "r"(bits));
}

__device__ __forceinline__ Four wide(const Halves& h)
{
    Four f;
    both(h.x, f.v[0], f.v[1]);
    both(h.y, f.v[2], f.v[3]);
    return f;
}

__device__ __forceinline__ void scale(Halves& h, const float4& by)
{
    const Four f = wide(h);
    h.x = narrow(f.v[0] * by.x) | (u4)narrow(f.v[1] * by.y) << 16;
    h.y = narrow(f.v[2] * by.z) | (u4)narrow(f.v[3] * by.w) << 16;
}

// re, im (p, t, plane) *= table (t, plane); grid (fours of a plane, t, p).
extern "C" __global__ void scale_spectra(Halves* re, Halves* im, const float4* __restrict__ table, int plane)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= plane) return;
    const i8 o = ((i8)blockIdx.z * gridDim.y + blockIdx.y) * plane + at;
    const float4 by = table[blockIdx.y * plane + at];
    scale(re[o], by);
    scale(im[o], by);
}

// exp(i k step - k² spread / 2)
__device__ float2 faded_phase(int k, float step, float spread)
{
    float s, c;
    sincospif(k * (step * 0.318309886f), &s, &c);
    const float left = expf(-0.5f * spread * k * k);
    return make_float2(left * c, left * s);
}

#define FRAMES 20  // frames whose phases a block of `align` holds

// R = sum_t G_t exp(i k step_t) and sum_t |G_t|², G_t = F_t exp(-spread_t k²/2), each (p, ny, pitch). steps (p, t)
// are followed by spreads (p, t). Grid (row blocks,
// p), block: pitch / 4 threads for each of some rows.
extern "C" __global__ __launch_bounds__(512, 2) void align_spectra(
    const half* __restrict__ re, const half* __restrict__ im, const float2* __restrict__ steps, int t, int m, int pitch,
    float* total_re, float* total_im, float* total_auto)
{
    extern __shared__ float phases[];  // of the columns: FRAMES real, FRAMES imaginary rows of pitch; of rows: FRAMES x rows
    const int quads = pitch / 4, rows = blockDim.x / quads, ny = 2 * m + 1, p = blockIdx.y, y0 = blockIdx.x * rows;
    const int own = threadIdx.x / quads, x = 4 * (threadIdx.x % quads), y = y0 + own, ky = y - m;
    const bool inside = y < ny && x * x + ky * ky <= m * (m + 1);
    const float* spread = (const float*)(steps + (i8)gridDim.y * t);
    float* imaginary = phases + FRAMES * pitch;
    float2* down = (float2*)(imaginary + FRAMES * pitch);
    Four sr = {}, si = {}, sa = {};
    for (int f0 = 0; f0 < t; f0 += FRAMES) {
        const int here = min(FRAMES, t - f0), all = pitch + rows;
        __syncthreads();
        for (int k = threadIdx.x; k < here * all; k += blockDim.x) {
            const int f = k / all, c = k % all;
            const i8 at = (i8)p * t + f0 + f;
            const float2 v = c < pitch ? faded_phase(c, steps[at].x, spread[at])
                                       : faded_phase(y0 + c - pitch - m, steps[at].y, spread[at]);
            if (c < pitch) phases[f * pitch + c] = v.x, imaginary[f * pitch + c] = v.y;
            else down[f * rows + c - pitch] = v;
        }
        __syncthreads();
        if (!inside) continue;
        const i8 base = (((i8)p * t + f0) * ny + y) * pitch + x;
#pragma unroll 4
        for (int f = 0; f < here; f++) {
            const Four a = wide(*(const Halves*)(re + base + (i8)f * ny * pitch));
            const Four b = wide(*(const Halves*)(im + base + (i8)f * ny * pitch));
            const float4 ur = *(const float4*)(phases + f * pitch + x), ui = *(const float4*)(imaginary + f * pitch + x);
            const float2 v = down[f * rows + own];
            const float ux[4] = {ur.x, ur.y, ur.z, ur.w}, uy[4] = {ui.x, ui.y, ui.z, ui.w};
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float cr = ux[j] * v.x - uy[j] * v.y, ci = ux[j] * v.y + uy[j] * v.x;
                const float turned_re = a.v[j] * cr - b.v[j] * ci, turned_im = a.v[j] * ci + b.v[j] * cr;
                sr.v[j] += turned_re;
                si.v[j] += turned_im;
                sa.v[j] += turned_re * turned_re + turned_im * turned_im;
            }
        }
    }
    if (y >= ny) return;
    const i8 o = ((i8)p * ny + y) * pitch + x;
    *(float4*)(total_re + o) = make_float4(sr.v[0], sr.v[1], sr.v[2], sr.v[3]);
    *(float4*)(total_im + o) = make_float4(si.v[0], si.v[1], si.v[2], si.v[3]);
    *(float4*)(total_auto + o) = make_float4(sa.v[0], sa.v[1], sa.v[2], sa.v[3]);
}

// Sums over rings: order lists the coefficients of ring 0, then ring 1, ...; one warp for each ring and tile.
extern "C" __global__ void ring_sums(
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
extern "C" __global__ void filter_spectra(
    const float* __restrict__ re, const float* __restrict__ im, const float* __restrict__ w,
    const int* __restrict__ ring, const float* __restrict__ weight, int n, int rings, float* out_re, float* out_im)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x, p = blockIdx.y;
    if (at >= n) return;
    const float f = ring[at] >= 0 ? w[p * rings + ring[at]] * weight[at] : 0.f;
    out_re[(i8)p * n + at] = f * re[(i8)p * n + at];
    out_im[(i8)p * n + at] = f * im[(i8)p * n + at];
}

#define SLOPES 2  // frames that a block of `gradient` works on

// -sum_k k Im(conj(weighted) G_t exp(i k step_t)), G as in align; grid (t / SLOPES, p). Of a block pitch / 4 threads for
// each of some rows, which go down together.
extern "C" __global__ __launch_bounds__(256, 5) void shift_gradient(
    const half* __restrict__ re, const half* __restrict__ im, const float2* __restrict__ steps,
    const float* __restrict__ weighted_re, const float* __restrict__ weighted_im, int t, int m, int pitch, double* out)
{
    extern __shared__ float phases[];  // for each frame: real and imaginary ones of pitch columns, then of ny rows
    __shared__ double shared[32];
    const int quads = pitch / 4, rows = blockDim.x / quads, ny = 2 * m + 1, f0 = blockIdx.x * SLOPES, p = blockIdx.y;
    const int here = min(SLOPES, t - f0), all = pitch + ny, x = 4 * (threadIdx.x % quads);
    const float* spread = (const float*)(steps + (i8)gridDim.y * t);
    float2* down = (float2*)(phases + 2 * SLOPES * pitch);
    for (int k = threadIdx.x; k < SLOPES * all; k += blockDim.x) {
        const int f = k / all, c = k % all;
        const i8 at = (i8)p * t + f0 + min(f, here - 1);
        const float2 v = c < pitch ? faded_phase(c, steps[at].x, spread[at])
                                   : faded_phase(c - pitch - m, steps[at].y, spread[at]);
        if (c < pitch) phases[2 * f * pitch + c] = v.x, phases[(2 * f + 1) * pitch + c] = v.y;
        else down[f * ny + c - pitch] = v;
    }
    __syncthreads();
    float gx[SLOPES], gy[SLOPES];
#pragma unroll
    for (int f = 0; f < SLOPES; f++) gx[f] = gy[f] = 0;
    const int plane = ny * pitch;
    re += ((i8)p * t + f0) * plane, im += ((i8)p * t + f0) * plane;
    weighted_re += (i8)p * plane, weighted_im += (i8)p * plane;
    for (int y = threadIdx.x / quads < rows ? threadIdx.x / quads : ny; y < ny; y += rows) {
        const int ky = y - m;
        if (x * x + ky * ky > m * (m + 1)) continue;
        const int at = y * pitch + x;
        const float4 a4 = *(const float4*)(weighted_re + at), b4 = *(const float4*)(weighted_im + at);
        const float wr[4] = {a4.x, a4.y, a4.z, a4.w}, wi[4] = {b4.x, b4.y, b4.z, b4.w};
#pragma unroll
        for (int f = 0; f < SLOPES; f++) {
            const int of = at + min(f, here - 1) * plane;
            const Four a = wide(*(const Halves*)(re + of)), b = wide(*(const Halves*)(im + of));
            const float4 ur = *(const float4*)(phases + 2 * f * pitch + x);
            const float4 ui = *(const float4*)(phases + (2 * f + 1) * pitch + x);
            const float2 v = down[f * ny + y];
            const float ux[4] = {ur.x, ur.y, ur.z, ur.w}, uy[4] = {ui.x, ui.y, ui.z, ui.w};
            float row = 0;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float cr = ux[j] * v.x - uy[j] * v.y, ci = ux[j] * v.y + uy[j] * v.x;
                const float s =
                    wr[j] * (a.v[j] * ci + b.v[j] * cr) - wi[j] * (a.v[j] * cr - b.v[j] * ci);
                gx[f] += (x + j) * s;
                row += s;
            }
            gy[f] += ky * row;
        }
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
