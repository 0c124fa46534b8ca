// Spectra of tiles of SIZE x SIZE pixels, less their mean, times a window: `Kernels.tile_spectra`.
//
// Transforms of SIZE = N1 N2 samples by Cooley and Tukey, with sample N2 a + b and frequency c + N1 d: for each b over
// a, times the phase factor of b c, then for each c over b. Along y a block computes the frequencies of only a few c at
// a time, for all columns, because all frequencies would not fit into shared memory. Those of -c are conjugates.

#define NY (2 * M + 1)
#define PITCH ((M + 4) / 4 * 4)  // of the spectra: M + 1 numbers per row, then zeros
#define LINE (SIZE + N1)         // one number is left out after N2 samples, to avoid conflicts of memory banks
#define CLASSES_AT_A_TIME 2      // c
#define THREADS ((SIZE + 31) / 32 * 32)

__constant__ float2 roots[SIZE] = {ROOTS};  // exp(-2 pi i k / SIZE)

__device__ __forceinline__ float2 times(float2 a, float2 b)
{
    return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

// Discrete Fourier transform, in place.
template <int N> __device__ __forceinline__ void transform(float2 (&x)[N])
{
    if constexpr (N > 1 && N % 2 == 0) {
        float2 even[N / 2], odd[N / 2];
#pragma unroll
        for (int k = 0; k < N / 2; k++) even[k] = x[2 * k], odd[k] = x[2 * k + 1];
        transform(even);
        transform(odd);
#pragma unroll
        for (int k = 0; k < N / 2; k++) {
            const float2 e = even[k], v = odd[k];
            const float2 o = k == 0 ? v : 4 * k == N ? make_float2(v.y, -v.x) : times(v, roots[k * (SIZE / N)]);
            x[k] = make_float2(e.x + o.x, e.y + o.y);
            x[k + N / 2] = make_float2(e.x - o.x, e.y - o.y);
        }
    } else if constexpr (N > 1) {
        float2 in[N];
#pragma unroll
        for (int k = 0; k < N; k++) in[k] = x[k];
#pragma unroll
        for (int k = 0; k < N; k++) {
            x[k] = in[0];
#pragma unroll
            for (int j = 1; j < N; j++) {
                const float2 v = times(in[j], roots[j * k % N * (SIZE / N)]);
                x[k].x += v.x, x[k].y += v.y;
            }
        }
    }
}

__device__ __forceinline__ int signed_frequency(int k) { return k > SIZE / 2 ? k - SIZE : k; }

struct Row {
    float weight;
    int offset;
};

// Tile blockIdx.x of frame blockIdx.y: images (t, h, w), tile_origins (t, p) as y, x, window_weights (p, N1 + 1, N1 +
// 1). In re and im a frame is NY * PITCH after the frame before, a tile ``stride`` after the tile before.
extern "C" __global__ __launch_bounds__(THREADS, 512 / THREADS) void tile_spectra(
    const i1* __restrict__ images, int h, int w, const int2* __restrict__ tile_origins, const float* __restrict__ taper,
    const float* __restrict__ window_weights, i8 stride, half* real_part, half* imaginary_part)
{
    extern __shared__ float2 lines[];  // CLASSES_AT_A_TIME x N2 of LINE
    __shared__ Row rows[SIZE];
    __shared__ float mean;
    __shared__ double shared[32];
    const int2 origin = tile_origins[blockIdx.y * gridDim.x + blockIdx.x];
    images += (i8)blockIdx.y * h * w;
    real_part += blockIdx.x * stride + (i8)blockIdx.y * NY * PITCH,
        imaginary_part += blockIdx.x * stride + (i8)blockIdx.y * NY * PITCH;
    for (int k = threadIdx.x; k < SIZE; k += THREADS) {
        const int y = origin.x + k;
        rows[k] = {y >= 0 && y < h ? taper[k] : 0.f, min(max(y, 0), h - 1) * w};
    }
    for (int k = threadIdx.x; k < NY * (PITCH - M - 1); k += THREADS) {
        const int at = k / (PITCH - M - 1) * PITCH + M + 1 + k % (PITCH - M - 1);
        real_part[at] = imaginary_part[at] = 0;
    }
    const auto keep = [&](int ky, int kx, float2 v) {
        real_part[(ky + M) * PITCH + kx] = to_half(v.x);
        imaginary_part[(ky + M) * PITCH + kx] = to_half(v.y);
    };
    window_weights += (i8)blockIdx.x * (N1 + 1) * (N1 + 1);
    const auto window_at_row = [&](int row, int k) {  // the window between two corners of a row of cells
        const float* at = window_weights + row * (N1 + 1) + k / N2;
        return at[0] + (at[1] - at[0]) * ((k % N2 + 0.5f) / N2);
    };
    __syncthreads();
    double total = 0, weights = 0;
    for (int k = threadIdx.x; k < SIZE; k += THREADS) {
        const int x = origin.y + k;
        if (x < 0 || x >= w) continue;
        float top = window_at_row(0, k), sum = 0, weight = 0;
        for (int a = 0; a < N1; a++) {
            const float bottom = window_at_row(a + 1, k), step = (bottom - top) / N2;
#pragma unroll
            for (int b = 0; b < N2; b++) {
                const Row row = rows[N2 * a + b];
                const float v = row.weight * (top + (b + 0.5f) * step);
                sum += v * (float)images[x + row.offset], weight += v;
            }
            top = bottom;
        }
        total += taper[k] * sum, weights += taper[k] * weight;
    }
    total = block_sum(total, shared);
    weights = block_sum(weights, shared);
    if (threadIdx.x == 0) mean = weights > 0 ? total / weights : 0;
    for (int first_class = 0; first_class <= N1 / 2; first_class += CLASSES_AT_A_TIME) {
        __syncthreads();
        for (int k = threadIdx.x; k < SIZE; k += THREADS) {
            const int x = origin.y + k;
            const i1* from = images + min(max(x, 0), w - 1);
            const float across = x >= 0 && x < w ? taper[k] : 0.f;
            float top = window_at_row(0, k);
            float2 sum[CLASSES_AT_A_TIME][N2] = {};
#pragma unroll 1
            for (int a = 0; a < N1; a++) {
                float2 turn[CLASSES_AT_A_TIME];
                const float bottom = window_at_row(a + 1, k), step = (bottom - top) / N2;
#pragma unroll
                for (int g = 0; g < CLASSES_AT_A_TIME; g++) turn[g] = roots[a * (first_class + g) % N1 * N2];
#pragma unroll
                for (int b = 0; b < N2; b++) {
                    const Row row = rows[N2 * a + b];
                    const float v = row.weight * (top + (b + 0.5f) * step) * ((float)from[row.offset] - mean);
#pragma unroll
                    for (int g = 0; g < CLASSES_AT_A_TIME; g++)
                        sum[g][b].x += v * turn[g].x, sum[g][b].y += v * turn[g].y;
                }
                top = bottom;
            }
#pragma unroll
            for (int g = 0; g < CLASSES_AT_A_TIME; g++) {
                if (first_class + g > N1 / 2) break;
#pragma unroll
                for (int b = 0; b < N2; b++) {
                    const float2 turn = roots[b * (first_class + g)];
                    sum[g][b] = times(sum[g][b], make_float2(across * turn.x, across * turn.y));
                }
                transform(sum[g]);
#pragma unroll
                for (int d = 0; d < N2; d++) lines[(g * N2 + d) * LINE + k + k / N2] = sum[g][d];
            }
        }
        const int many = min(CLASSES_AT_A_TIME, N1 / 2 + 1 - first_class) * N2;  // number of lines
        __syncthreads();
        for (int k = threadIdx.x; k < many * N2; k += THREADS) {
            float2* line = lines + k / N2 * LINE + k % N2;
            float2 v[N1], turn = make_float2(1, 0), step;
            sincospif(-2.f / SIZE * (k % N2), &step.y, &step.x);
#pragma unroll
            for (int a = 0; a < N1; a++) v[a] = line[(N2 + 1) * a];
            transform(v);
#pragma unroll
            for (int c = 0; c < N1; c++) line[(N2 + 1) * c] = times(v[c], turn), turn = times(turn, step);
        }
        __syncthreads();
        for (int k = threadIdx.x; k < many * N1; k += THREADS) {
            const int c = first_class + k / N1 / N2, ky = signed_frequency(c + N1 * (k / N1 % N2));
            if (abs(ky) > M) continue;
            const float2* line = lines + k / N1 * LINE + (N2 + 1) * (k % N1);
            float2 v[N2];
#pragma unroll
            for (int b = 0; b < N2; b++) v[b] = line[b];
            transform(v);
#pragma unroll
            for (int d = 0; d < N2; d++) {
                const int kx = signed_frequency(k % N1 + N1 * d);
                if (kx >= 0 && kx <= M) keep(ky, kx, v[d]);
                // -ky belongs to -c, which is computed only where it equals c
                if (kx <= 0 && kx >= -M && 2 * c % N1) keep(-ky, -kx, make_float2(v[d].x, -v[d].y));
            }
        }
    }
}
