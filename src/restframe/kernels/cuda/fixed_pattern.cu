// What is fixed on the detector, taken off the spectra of tiles, and the specimen that goes with it.

__device__ __forceinline__ float2 times(float2 a, float2 b) { return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }

// re, im (p, t, ny, pitch) less ``part`` of what frames share once ``turns`` (t, ny, nx) brought them together; grid
// (blocks of ny nx, p).
extern "C" __global__ __launch_bounds__(256) void subtract_fixed_pattern(
    half* re, half* im, const float2* __restrict__ turns, int t, int ny, int nx, int pitch, float part)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= ny * nx) return;
    const i8 plane = (i8)ny * pitch, o = blockIdx.y * t * plane + at / nx * pitch + at % nx;
    float2 shared = make_float2(0, 0);
    for (int f = 0; f < t; f++) {
        const float2 v = times(make_float2(wide(re[o + f * plane]), wide(im[o + f * plane])), turns[(i8)f * ny * nx + at]);
        shared.x += v.x, shared.y += v.y;
    }
    shared.x *= part, shared.y *= part;
    for (int f = 0; f < t; f++) {
        const float2 turn = turns[(i8)f * ny * nx + at], v = times(make_float2(turn.x, -turn.y), shared);
        re[o + f * plane] = narrow(wide(re[o + f * plane]) - v.x);
        im[o + f * plane] = narrow(wide(im[o + f * plane]) - v.y);
    }
}

__device__ __forceinline__ float2 wave(float cycles)  // exp(-2 pi i cycles)
{
    float2 v;
    sincospif(-2 * cycles, &v.y, &v.x);
    return v;
}

// What `put_back` in reference.py says, of tile blockIdx.x. moved (p, t, 2) in tile sides, across (2, directions),
// strength (t, rings), power (p, rings). Shared memory: t + directions rings pairs. value (p), slopes (p, t, 2).
extern "C" __global__ __launch_bounds__(256) void pattern_bias(
    const float2* __restrict__ moved, const float* __restrict__ across, const float* __restrict__ strength,
    const float* __restrict__ power, int t, int directions, int rings, float part, double* value, double* slopes)
{
    extern __shared__ float2 u[];
    __shared__ double shared[32];
    float2* pull = u + t;
    const int p = blockIdx.x, all = directions * rings, lane = threadIdx.x % 32;
    for (int f = threadIdx.x; f < t; f += blockDim.x) u[f] = moved[(i8)p * t + f];
    __syncthreads();
    double total = 0;
    for (int k = threadIdx.x; k < all; k += blockDim.x) {
        const int d = k / rings, r = k % rings;
        const float x = r * across[d], y = r * across[directions + d], g = power[p * rings + r];
        float2 v = make_float2(0, 0);
        for (int f = 0; f < t; f++) {
            const float2 w = wave(x * u[f].x + y * u[f].y);
            const float s = strength[f * rings + r];
            v.x += s * w.x, v.y += s * w.y;
        }
        const float left = 1 - part * (v.x * v.x + v.y * v.y), by = 2 * part * g * r / left;
        total -= (double)g * logf(left);
        pull[k] = make_float2(by * v.x, -by * v.y);
    }
    total = block_sum(total, shared);
    if (threadIdx.x == 0) value[p] = total;
    __syncthreads();
    if (!slopes) return;
    for (int f = threadIdx.x / 32; f < t; f += blockDim.x / 32) {
        float sx = 0, sy = 0;
        for (int k = lane; k < all; k += 32) {
            const int d = k / rings, r = k % rings;
            const float nx = across[d], ny = across[directions + d];
            const float s = strength[f * rings + r] * times(wave(r * (nx * u[f].x + ny * u[f].y)), pull[k]).y;
            sx += nx * s, sy += ny * s;
        }
        for (int d = 16; d; d >>= 1) sx += __shfl_down_sync(EVERY, sx, d), sy += __shfl_down_sync(EVERY, sy, d);
        if (lane == 0) slopes[2 * ((i8)p * t + f)] = sx, slopes[2 * ((i8)p * t + f) + 1] = sy;
    }
}
