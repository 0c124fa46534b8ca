// The evidence for a prior's scales: `Kernels.log_evidence`, one block for each trajectory.

#define RESULTS 9

// information (m, n, n), linear (m, n, 2), precisions (m, 2, n). Shared memory: 3n numbers, and n² more where
// ``matrices`` (m, n, n) is null. out (m, RESULTS): value; slopes; curvature and its expectation, each as 00, 01, 11.
extern "C" __global__ __launch_bounds__(THREADS) void log_evidence(
    const double* __restrict__ information, const double* __restrict__ linear, const double* __restrict__ precisions,
    int n, float negligible, double* matrices, double* out)
{
    extern __shared__ double column[];
    __shared__ double shared[32];
    __shared__ int coupled;
    double *x = column + n, *y = x + n, *p = matrices ? matrices + (i8)blockIdx.x * n * n : y + n;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    information += (i8)blockIdx.x * n * n, linear += (i8)blockIdx.x * n * 2, precisions += (i8)blockIdx.x * 2 * n;
    const auto diagonal = [&](int i) { return information[(i8)i * n + i]; };
    const auto prior = [&](int i) { return precisions[i] + precisions[n + i]; };
    if (threadIdx.x == 0) coupled = 1;
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        if (diagonal(i) > negligible * prior(i)) atomicMax(&coupled, i + 1);
    __syncthreads();
    const int k = coupled;
    for (int i = warp; i < k; i += warps)
        for (int j = lane; j < k; j += 32) p[i * k + j] = information[(i8)i * n + j] + (i == j ? prior(i) : 0);
    double log_det = 0;
    for (int s = 0; s < k; s++) {  // sweep operator: afterwards p is minus its inverse
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
        double estimate_x = 0, estimate_y = 0;
        if (i < k) {
            for (int j = lane; j < k; j += 32)
                estimate_x -= p[i * k + j] * linear[2 * j], estimate_y -= p[i * k + j] * linear[2 * j + 1];
            for (int d = 16; d; d >>= 1)
                estimate_x += __shfl_down_sync(ALL_LANES, estimate_x, d),
                    estimate_y += __shfl_down_sync(ALL_LANES, estimate_y, d);
        } else {
            estimate_x = linear[2 * i] / (diagonal(i) + prior(i)),
            estimate_y = linear[2 * i + 1] / (diagonal(i) + prior(i));
        }
        if (lane == 0) x[i] = estimate_x, y[i] = estimate_y;
    }
    __syncthreads();
    double sums[RESULTS] = {};
    const auto add = [&](double* to, int i, int j, double v) {
        to[0] += precisions[i] * precisions[j] * v, to[1] += precisions[i] * precisions[n + j] * v,
            to[2] += precisions[n + i] * precisions[n + j] * v;
    };
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        const double q = prior(i), alone = diagonal(i) + q, variance = i < k ? -p[i * k + i] : 1 / alone,
                     w = 1 / q - variance;
        const double square = x[i] * x[i] + y[i] * y[i], up = 0.5 * square - w;
        sums[0] += 0.5 * (linear[2 * i] * x[i] + linear[2 * i + 1] * y[i]) + log(q) - (i < k ? 0 : log(alone));
        sums[1] += precisions[i] * up, sums[2] += precisions[n + i] * up;
        add(sums + 3, i, i, 1 / (q * q) - (i < k ? 0 : variance * (variance + square)));
        if (i >= k) add(sums + 6, i, i, w * w);
    }
    for (int i = warp; i < k; i += warps)
        for (int j = lane; j < k; j += 32) {
            const double v = -p[i * k + j], w = (i == j ? 1 / prior(i) : 0) - v;
            add(sums + 3, i, j, -v * (v + x[i] * x[j] + y[i] * y[j]));
            add(sums + 6, i, j, w * w);
        }
    for (int m = 0; m < RESULTS; m++) sums[m] = block_sum(sums[m], shared);
    if (threadIdx.x) return;
    sums[0] -= log_det, sums[3] += sums[1], sums[5] += sums[2];
    for (int m = 0; m < RESULTS; m++) out[blockIdx.x * RESULTS + m] = sums[m];
}
