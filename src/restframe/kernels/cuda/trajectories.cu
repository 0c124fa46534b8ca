// The evidence for a prior's scales, a block for each course in time; what it works out: `of_courses` in reference.py.

#define NUMBERS 9

// data (m, n, n), linear (m, n, 2), a (m, 2, n). Shared memory: 3n numbers, and n² more if there is no ``room`` (m, n, n)
// for the matrices. out (m, NUMBERS): value; slopes; curvature and information, each 00, 01, 11.
extern "C" __global__ __launch_bounds__(THREADS) void log_evidence(
    const double* __restrict__ data, const double* __restrict__ linear, const double* __restrict__ a, int n,
    float negligible, double* room, double* out)
{
    extern __shared__ double column[];
    __shared__ double shared[32];
    __shared__ int last;
    double *x = column + n, *y = x + n, *p = room ? room + (i8)blockIdx.x * n * n : y + n;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    data += (i8)blockIdx.x * n * n, linear += (i8)blockIdx.x * n * 2, a += (i8)blockIdx.x * 2 * n;
    const auto own = [&](int i) { return data[(i8)i * n + i]; };
    const auto before = [&](int i) { return a[i] + a[n + i]; };
    if (threadIdx.x == 0) last = 1;
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        if (own(i) > negligible * before(i)) atomicMax(&last, i + 1);
    __syncthreads();
    const int k = last;
    for (int i = warp; i < k; i += warps)
        for (int j = lane; j < k; j += 32) p[i * k + j] = data[(i8)i * n + j] + (i == j ? before(i) : 0);
    double log_det = 0;
    for (int s = 0; s < k; s++) {  // the sweep operator, after which p is minus its inverse
        __syncthreads();
        for (int i = threadIdx.x; i < k; i += blockDim.x) column[i] = p[i * k + s];
        __syncthreads();
        const double pivot = column[s], r = 1 / pivot;
        log_det += log(pivot);
        for (int i = warp; i < k; i += warps) {
            const double left = column[i] * r;
            for (int j = lane; j < k; j += 32) {
                double* at = p + i * k + j;
                *at = j == s ? (i == s ? -r : left) : i == s ? column[j] * r : *at - left * column[j];
            }
        }
    }
    __syncthreads();
    for (int i = warp; i < n; i += warps) {
        double of_x = 0, of_y = 0;
        if (i < k) {
            for (int j = lane; j < k; j += 32) of_x -= p[i * k + j] * linear[2 * j], of_y -= p[i * k + j] * linear[2 * j + 1];
            for (int d = 16; d; d >>= 1) of_x += __shfl_down_sync(EVERY, of_x, d), of_y += __shfl_down_sync(EVERY, of_y, d);
        } else {
            of_x = linear[2 * i] / (own(i) + before(i)), of_y = linear[2 * i + 1] / (own(i) + before(i));
        }
        if (lane == 0) x[i] = of_x, y[i] = of_y;
    }
    __syncthreads();
    double sums[NUMBERS] = {};
    const auto add = [&](double* to, int i, int j, double v) {
        to[0] += a[i] * a[j] * v, to[1] += a[i] * a[n + j] * v, to[2] += a[n + i] * a[n + j] * v;
    };
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        const double q = before(i), alone = own(i) + q, variance = i < k ? -p[i * k + i] : 1 / alone, w = 1 / q - variance;
        const double square = x[i] * x[i] + y[i] * y[i], up = 0.5 * square - w;
        sums[0] += 0.5 * (linear[2 * i] * x[i] + linear[2 * i + 1] * y[i]) + log(q) - (i < k ? 0 : log(alone));
        sums[1] += a[i] * up, sums[2] += a[n + i] * up;
        add(sums + 3, i, i, 1 / (q * q) - (i < k ? 0 : variance * (variance + square)));
        if (i >= k) add(sums + 6, i, i, w * w);
    }
    for (int i = warp; i < k; i += warps)
        for (int j = lane; j < k; j += 32) {
            const double v = -p[i * k + j], w = (i == j ? 1 / before(i) : 0) - v;
            add(sums + 3, i, j, -v * (v + x[i] * x[j] + y[i] * y[j]));
            add(sums + 6, i, j, w * w);
        }
    for (int m = 0; m < NUMBERS; m++) sums[m] = block_sum(sums[m], shared);
    if (threadIdx.x) return;
    sums[0] -= log_det, sums[3] += sums[1], sums[5] += sums[2];
    for (int m = 0; m < NUMBERS; m++) out[blockIdx.x * NUMBERS + m] = sums[m];
}
