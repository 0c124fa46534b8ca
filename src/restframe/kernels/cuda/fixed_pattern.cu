// The fixed pattern of the detector in spectra of tiles: subtracted, and the bias of that.

__device__ __forceinline__ float2 times(float2 a, float2 b)
{
    return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

// `Kernels.subtract_fixed_pattern`: re, im (p, t, ny, pitch), phase_factors (t, ny, nx). Grid (blocks of ny * nx, p).
extern "C" __global__ __launch_bounds__(256) void subtract_fixed_pattern(
    half* re, half* im, const float2* __restrict__ phase_factors, int frame_count, int ny, int nx, int pitch,
    float fraction)
{
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= ny * nx) return;
    const i8 plane = (i8)ny * pitch, o = blockIdx.y * frame_count * plane + index / nx * pitch + index % nx;
    float2 shared = make_float2(0, 0);
    for (int f = 0; f < frame_count; f++) {
        const float2 v = times(
            make_float2(to_float(re[o + f * plane]), to_float(im[o + f * plane])),
            phase_factors[(i8)f * ny * nx + index]);
        shared.x += v.x, shared.y += v.y;
    }
    shared.x *= fraction, shared.y *= fraction;
    for (int f = 0; f < frame_count; f++) {
        const float2 turn = phase_factors[(i8)f * ny * nx + index], v = times(make_float2(turn.x, -turn.y), shared);
        re[o + f * plane] = to_half(to_float(re[o + f * plane]) - v.x);
        im[o + f * plane] = to_half(to_float(im[o + f * plane]) - v.y);
    }
}

__device__ __forceinline__ float2 wave(float cycles)  // exp(-2 pi i cycles)
{
    float2 v;
    sincospif(-2 * cycles, &v.y, &v.x);
    return v;
}

// `Kernels.pattern_bias` of tile blockIdx.x. displacement (p, t, 2) in sides of a tile, directions (2, n), strength
// (t, rings), power (p, rings), value (p), gradient (p, t, 2) or null. Shared memory: t + n * rings pairs.
extern "C" __global__ __launch_bounds__(256) void pattern_bias(
    const float2* __restrict__ displacement, const float* __restrict__ directions, const float* __restrict__ strength,
    const float* __restrict__ power, int frame_count, int direction_count, int ring_count, float fraction,
    double* value, double* gradient)
{
    extern __shared__ float2 u[];
    __shared__ double shared[32];
    float2* derivative = u + frame_count;
    const int p = blockIdx.x, all = direction_count * ring_count, lane = threadIdx.x % 32;
    for (int f = threadIdx.x; f < frame_count; f += blockDim.x) u[f] = displacement[(i8)p * frame_count + f];
    __syncthreads();
    double total = 0;
    for (int k = threadIdx.x; k < all; k += blockDim.x) {
        const int d = k / ring_count, r = k % ring_count;
        const float x = r * directions[d], y = r * directions[direction_count + d], g = power[p * ring_count + r];
        float2 v = make_float2(0, 0);
        for (int f = 0; f < frame_count; f++) {
            const float2 w = wave(x * u[f].x + y * u[f].y);
            const float s = strength[f * ring_count + r];
            v.x += s * w.x, v.y += s * w.y;
        }
        const float remaining = 1 - fraction * (v.x * v.x + v.y * v.y), factor = 2 * fraction * g * r / remaining;
        total -= (double)g * logf(remaining);
        derivative[k] = make_float2(factor * v.x, -factor * v.y);
    }
    total = block_sum(total, shared);
    if (threadIdx.x == 0) value[p] = total;
    __syncthreads();
    if (!gradient) return;
    for (int f = threadIdx.x / 32; f < frame_count; f += blockDim.x / 32) {
        float sx = 0, sy = 0;
        for (int k = lane; k < all; k += 32) {
            const int d = k / ring_count, r = k % ring_count;
            const float nx = directions[d], ny = directions[direction_count + d];
            const float s =
                strength[f * ring_count + r] * times(wave(r * (nx * u[f].x + ny * u[f].y)), derivative[k]).y;
            sx += nx * s, sy += ny * s;
        }
        for (int d = 16; d; d >>= 1) sx += __shfl_down_sync(ALL_LANES, sx, d), sy += __shfl_down_sync(ALL_LANES, sy, d);
        if (lane == 0) gradient[2 * ((i8)p * frame_count + f)] = sx, gradient[2 * ((i8)p * frame_count + f) + 1] = sy;
    }
}
