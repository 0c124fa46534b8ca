// Spectra of tiles (p, t, ny = 2m+1, nx = m+1): row m is ky = 0. ``pitch``: distance between rows, a multiple of four,
// so that four numbers are read at a time; numbers beyond nx are zero. Only the band, |k| < m + 1/2, is read and
// computed.

typedef uint2 HalfQuad;  // four numbers

struct FloatQuad {
    float v[4];
};

__device__ __forceinline__ void unpack(u4 bits, float& a, float& b)
{
    asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}" : "=f"(a), "=f"(b) : "r"(bits));
}

__device__ __forceinline__ FloatQuad to_float(const HalfQuad& h)
{
    FloatQuad f;
    unpack(h.x, f.v[0], f.v[1]);
    unpack(h.y, f.v[2], f.v[3]);
    return f;
}

__device__ __forceinline__ void scale(HalfQuad& h, const float4& by)
{
    const FloatQuad f = to_float(h);
    h.x = to_half(f.v[0] * by.x) | (u4)to_half(f.v[1] * by.y) << 16;
    h.y = to_half(f.v[2] * by.z) | (u4)to_half(f.v[3] * by.w) << 16;
}

// `Kernels.scale_spectra`: re, im (p, t, plane), table (t, plane), in quads. Grid (blocks of a plane, t, p).
extern "C" __global__ void
scale_spectra(HalfQuad* real_part, HalfQuad* imaginary_part, const float4* __restrict__ table, int plane)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= plane) return;
    const i8 o = ((i8)blockIdx.z * gridDim.y + blockIdx.y) * plane + at;
    const float4 by = table[blockIdx.y * plane + at];
    scale(real_part[o], by);
    scale(imaginary_part[o], by);
}

// exp(i k step - k² variance / 2)
__device__ float2 damped_phase(int k, float step, float variance)
{
    float s, c;
    sincospif(k * (step * 0.318309886f), &s, &c);
    const float amplitude = expf(-0.5f * variance * k * k);
    return make_float2(amplitude * c, amplitude * s);
}

#define FRAMES_PER_STEP 20  // frames whose phases a block of `align_spectra` holds

// `Kernels.align_spectra`, each result (p, ny, pitch). The phase steps (p, t, 2) are followed by their variances (p,
// t). Grid (blocks of rows, p); a block has pitch / 4 threads for each of its rows.
extern "C" __global__ __launch_bounds__(512, 2) void align_spectra(
    const half* __restrict__ real_part, const half* __restrict__ imaginary_part,
    const float2* __restrict__ phases_and_variances, int frame_count, int m, int pitch, float* total_re,
    float* total_im, float* total_power)
{
    extern __shared__ float phases[];  // per frame: of columns, real then imaginary, pitch each; then of rows
    const int quads = pitch / 4, rows = blockDim.x / quads, ny = 2 * m + 1, p = blockIdx.y, y0 = blockIdx.x * rows;
    const int own = threadIdx.x / quads, x = 4 * (threadIdx.x % quads), y = y0 + own, ky = y - m;
    const bool inside = y < ny && x * x + ky * ky <= m * (m + 1);
    const float* variance = (const float*)(phases_and_variances + (i8)gridDim.y * frame_count);
    float* imaginary = phases + FRAMES_PER_STEP * pitch;
    float2* down = (float2*)(imaginary + FRAMES_PER_STEP * pitch);
    FloatQuad sr = {}, si = {}, sa = {};
    for (int first_frame = 0; first_frame < frame_count; first_frame += FRAMES_PER_STEP) {
        const int block_frames = min(FRAMES_PER_STEP, frame_count - first_frame), all = pitch + rows;
        __syncthreads();
        for (int k = threadIdx.x; k < block_frames * all; k += blockDim.x) {
            const int f = k / all, c = k % all;
            const i8 at = (i8)p * frame_count + first_frame + f;
            const float2 v = c < pitch ? damped_phase(c, phases_and_variances[at].x, variance[at])
                                       : damped_phase(y0 + c - pitch - m, phases_and_variances[at].y, variance[at]);
            if (c < pitch) phases[f * pitch + c] = v.x, imaginary[f * pitch + c] = v.y;
            else down[f * rows + c - pitch] = v;
        }
        __syncthreads();
        if (!inside) continue;
        const i8 base = (((i8)p * frame_count + first_frame) * ny + y) * pitch + x;
#pragma unroll 4
        for (int f = 0; f < block_frames; f++) {
            const FloatQuad a = to_float(*(const HalfQuad*)(real_part + base + (i8)f * ny * pitch));
            const FloatQuad b = to_float(*(const HalfQuad*)(imaginary_part + base + (i8)f * ny * pitch));
            const float4 ur = *(const float4*)(phases + f * pitch + x),
                         ui = *(const float4*)(imaginary + f * pitch + x);
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
    *(float4*)(total_power + o) = make_float4(sa.v[0], sa.v[1], sa.v[2], sa.v[3]);
}

// `Kernels.ring_sums`: order lists the coefficients of ring 0, then of ring 1, ...; one warp for each ring and tile.
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
    for (int d = 16; d; d >>= 1) s += __shfl_down_sync(ALL_LANES, s, d);
    if (threadIdx.x % 32 == 0) out[p * rings + ring] = s;
}

// a, b times w of the ring and weight of each coefficient.
extern "C" __global__ void filter_spectra(
    const float* __restrict__ real_part, const float* __restrict__ imaginary_part, const float* __restrict__ w,
    const int* __restrict__ ring, const float* __restrict__ weight, int n, int rings, float* out_re, float* out_im)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x, p = blockIdx.y;
    if (at >= n) return;
    const float f = ring[at] >= 0 ? w[p * rings + ring[at]] * weight[at] : 0.f;
    out_re[(i8)p * n + at] = f * real_part[(i8)p * n + at];
    out_im[(i8)p * n + at] = f * imaginary_part[(i8)p * n + at];
}

#define FRAMES_PER_BLOCK 2  // frames that a block of `shift_gradient` works on

// `Kernels.shift_gradient`: grid (t / FRAMES_PER_BLOCK, p). A block has pitch / 4 threads for each of a few rows and
// goes through all rows with them.
extern "C" __global__ __launch_bounds__(256, 5) void shift_gradient(
    const half* __restrict__ real_part, const half* __restrict__ imaginary_part,
    const float2* __restrict__ phases_and_variances, const float* __restrict__ weighted_re,
    const float* __restrict__ weighted_im, int frame_count, int m, int pitch, double* out)
{
    extern __shared__ float phases[];  // per frame: of columns, real then imaginary, pitch each; then of ny rows
    __shared__ double shared[32];
    const int quads = pitch / 4, rows = blockDim.x / quads, ny = 2 * m + 1, first_frame = blockIdx.x * FRAMES_PER_BLOCK,
              p = blockIdx.y;
    const int block_frames = min(FRAMES_PER_BLOCK, frame_count - first_frame), all = pitch + ny,
              x = 4 * (threadIdx.x % quads);
    const float* variance = (const float*)(phases_and_variances + (i8)gridDim.y * frame_count);
    float2* down = (float2*)(phases + 2 * FRAMES_PER_BLOCK * pitch);
    for (int k = threadIdx.x; k < FRAMES_PER_BLOCK * all; k += blockDim.x) {
        const int f = k / all, c = k % all;
        const i8 at = (i8)p * frame_count + first_frame + min(f, block_frames - 1);
        const float2 v = c < pitch ? damped_phase(c, phases_and_variances[at].x, variance[at])
                                   : damped_phase(c - pitch - m, phases_and_variances[at].y, variance[at]);
        if (c < pitch) phases[2 * f * pitch + c] = v.x, phases[(2 * f + 1) * pitch + c] = v.y;
        else down[f * ny + c - pitch] = v;
    }
    __syncthreads();
    float gx[FRAMES_PER_BLOCK], gy[FRAMES_PER_BLOCK];
#pragma unroll
    for (int f = 0; f < FRAMES_PER_BLOCK; f++) gx[f] = gy[f] = 0;
    const int plane = ny * pitch;
    real_part += ((i8)p * frame_count + first_frame) * plane,
        imaginary_part += ((i8)p * frame_count + first_frame) * plane;
    weighted_re += (i8)p * plane, weighted_im += (i8)p * plane;
    for (int y = threadIdx.x / quads < rows ? threadIdx.x / quads : ny; y < ny; y += rows) {
        const int ky = y - m;
        if (x * x + ky * ky > m * (m + 1)) continue;
        const int at = y * pitch + x;
        const float4 a4 = *(const float4*)(weighted_re + at), b4 = *(const float4*)(weighted_im + at);
        const float wr[4] = {a4.x, a4.y, a4.z, a4.w}, wi[4] = {b4.x, b4.y, b4.z, b4.w};
#pragma unroll
        for (int f = 0; f < FRAMES_PER_BLOCK; f++) {
            const int of = at + min(f, block_frames - 1) * plane;
            const FloatQuad a = to_float(*(const HalfQuad*)(real_part + of)),
                            b = to_float(*(const HalfQuad*)(imaginary_part + of));
            const float4 ur = *(const float4*)(phases + 2 * f * pitch + x);
            const float4 ui = *(const float4*)(phases + (2 * f + 1) * pitch + x);
            const float2 v = down[f * ny + y];
            const float ux[4] = {ur.x, ur.y, ur.z, ur.w}, uy[4] = {ui.x, ui.y, ui.z, ui.w};
            float row = 0;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float cr = ux[j] * v.x - uy[j] * v.y, ci = ux[j] * v.y + uy[j] * v.x;
                const float s = wr[j] * (a.v[j] * ci + b.v[j] * cr) - wi[j] * (a.v[j] * cr - b.v[j] * ci);
                gx[f] += (x + j) * s;
                row += s;
            }
            gy[f] += ky * row;
        }
    }
#pragma unroll
    for (int f = 0; f < FRAMES_PER_BLOCK; f++) {
        const double sx = block_sum(gx[f], shared), sy = block_sum(gy[f], shared);
        if (threadIdx.x == 0 && f < block_frames) {
            out[2 * ((i8)p * frame_count + first_frame + f)] = -sx;
            out[2 * ((i8)p * frame_count + first_frame + f) + 1] = -sy;
        }
    }
}
