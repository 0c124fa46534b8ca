// Whole images and their half spectra.

// Sums over n of partial sums (rows, n), one row for each block, in one fixed order.
extern "C" __global__ void sum_rows(const double* __restrict__ partial, i8 n, double* out)
{
    __shared__ double shared[32];
    double s = 0;
    for (i8 k = threadIdx.x; k < n; k += blockDim.x) s += partial[blockIdx.x * n + k];
    s = block_sum(s, shared);
    if (threadIdx.x == 0) out[blockIdx.x] = s;
}

// Images (frames, n) scaled so that their standard deviation is ``steps``, as int8. moments (frames, 2): the sum and
// the sum of squares of each image.
extern "C" __global__ void round_to_int8(
    const float* __restrict__ image, const double* __restrict__ moments, float steps, i8 n, i1* out)
{
    const i8 f = blockIdx.y;
    const double mean = moments[2 * f] / n, sd = sqrt(fmax(moments[2 * f + 1] / n - mean * mean, 0.));
    const float scale = steps / fmax(sd, 1e-20);
    for (i8 at = (i8)blockIdx.x * blockDim.x + threadIdx.x; at < n; at += (i8)gridDim.x * blockDim.x)
        out[f * n + at] = (i1)rintf(fminf(fmaxf(image[f * n + at] * scale, -127.f), 127.f));
}

// int8 to float32, four numbers per thread. CuPy converts one per thread, which takes four times as long.
extern "C" __global__ void int8_to_float(const char4* __restrict__ images, int n, float4* out)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= n) return;
    const char4 v = images[at];
    out[at] = make_float4(v.x, v.y, v.z, v.w);
}

// `Kernels.add_weighted_spectrum`: total (rows, columns), spectrum (h, w); step_y, step_x: samples per row and column.
extern "C" __global__ void add_weighted_spectrum(
    float2* total, int rows, int columns, const float2* __restrict__ spectrum, int h, int w,
    const float* __restrict__ samples, int n_samples, float step_y, float step_x)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x >= columns) return;
    const int ky = y < (rows + 1) / 2 ? y : y - rows;
    const float at = hypotf(ky * step_y, x * step_x);
    const int n = min((int)at, n_samples - 2);
    const float weight = samples[n] + (at - n) * (samples[n + 1] - samples[n]);
    const float2 v = spectrum[(i8)(ky < 0 ? ky + h : ky) * w + x];
    float2& o = total[(i8)y * columns + x];
    o = make_float2(o.x + weight * v.x, o.y + weight * v.y);
}

// `Kernels.multiply_interpolated`: grid (ny, nx) holds the factors.
extern "C" __global__ void multiply_interpolated(
    float2* total, int rows, int columns, const float2* __restrict__ grid, int ny, int nx)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x >= columns) return;
    const int ky = y < (rows + 1) / 2 ? y : y - rows;
    const float down = ((float)ky / rows + 0.5f) * (ny - 1), across = (float)x / (columns - 1) * (nx - 1);
    const int n = min((int)down, ny - 2), m = min((int)across, nx - 2);
    const float fy = down - n, fx = across - m;
    const float2 a = grid[n * nx + m], b = grid[n * nx + m + 1];
    const float2 c = grid[(n + 1) * nx + m], d = grid[(n + 1) * nx + m + 1];
    const float re = (a.x + fx * (b.x - a.x)) * (1 - fy) + (c.x + fx * (d.x - c.x)) * fy;
    const float im = (a.y + fx * (b.y - a.y)) * (1 - fy) + (c.y + fx * (d.y - c.y)) * fy;
    float2& o = total[(i8)y * columns + x];
    o = make_float2(o.x * re - o.y * im, o.x * im + o.y * re);
}

// The position within a line of n that is continued by reflection: d c b a | a b c d | d c b a.
__device__ __forceinline__ int mirror(int i, int n)
{
    i %= 2 * n;
    if (i < 0) i += 2 * n;
    return i < n ? i : 2 * n - 1 - i;
}

extern "C" __global__ void box_rows(
    const float* __restrict__ image, const u1* __restrict__ bad, int h, int w, int before, int after, float2* out)
{
    extern __shared__ float2 line[];
    const int y = blockIdx.y, x0 = blockIdx.x * blockDim.x, n = blockDim.x + before + after;
    for (int k = threadIdx.x; k < n; k += blockDim.x) {
        const i8 at = (i8)y * w + mirror(x0 + k - before, w);
        line[k] = bad[at] ? make_float2(0, 0) : make_float2(image[at], 1);
    }
    __syncthreads();
    if (x0 + threadIdx.x >= w) return;
    float2 s = make_float2(0, 0);
    for (int k = 0; k <= before + after; k++) s.x += line[threadIdx.x + k].x, s.y += line[threadIdx.x + k].y;
    out[(i8)y * w + x0 + threadIdx.x] = s;
}

#define STRIP 64  // rows that a thread goes through, downwards

// Mean of the good pixels in a square, from the sums of `box_rows`; ``other`` where there are none.
extern "C" __global__ void box_columns(
    const float2* __restrict__ rows, int h, int w, int before, int after, float other, float* out)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y0 = blockIdx.y * STRIP, y1 = min(y0 + STRIP, h);
    if (x >= w) return;
    double s = 0, n = 0;
    for (int k = -before; k < after; k++) {
        const float2 v = rows[(i8)mirror(y0 + k, h) * w + x];
        s += v.x, n += v.y;
    }
    for (int y = y0; y < y1; y++) {
        const float2 v = rows[(i8)mirror(y + after, h) * w + x];
        s += v.x, n += v.y;
        out[(i8)y * w + x] = n > 0.5 ? (float)(s / n) : other;
        const float2 gone = rows[(i8)mirror(y - before, h) * w + x];
        s -= gone.x, n -= gone.y;
    }
}

// `Kernels.defect_cluster_mask`.
extern "C" __global__ void defect_cluster_mask(const u1* __restrict__ bad, int h, int w, u1* out)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x >= w) return;
    int touching = 0, around = 0;
    for (int j = max(y - 1, 0); j <= min(y + 1, h - 1); j++)
        for (int i = max(x - 1, 0); i <= min(x + 1, w - 1); i++) touching |= bad[(i8)j * w + i];
    if (touching)  // few pixels do
        for (int j = -2; j <= 2; j++)
            for (int i = -2; i <= 2; i++) around += bad[(i8)mirror(y + j, h) * w + mirror(x + i, w)];
    out[(i8)y * w + x] = around >= 3 && !bad[(i8)y * w + x];
}

// For each image (t, n): its maximum, the first index of that, the sum and the sum of squares; of the part of each
// block, (t, blocks).
extern "C" __global__ __launch_bounds__(256) void correlation_peaks(
    const float* __restrict__ image, int n, float* highest, int* place, double* sums)
{
    __shared__ double shared[32];
    __shared__ float heights[256];
    __shared__ int places[256];
    const int f = blockIdx.y, out = f * gridDim.x + blockIdx.x;
    float top = -3.4e38f, sum = 0, square = 0;
    int where = 0;
    for (int at = blockIdx.x * 256 + threadIdx.x; at < n; at += gridDim.x * 256) {
        const float v = image[(i8)f * n + at];
        if (v > top) top = v, where = at;
        sum += v, square += v * v;
    }
    heights[threadIdx.x] = top, places[threadIdx.x] = where;
    for (int d = 128; d; d /= 2) {
        __syncthreads();
        if (threadIdx.x < d) {
            const float other = heights[threadIdx.x + d];
            const int there = places[threadIdx.x + d];
            if (other > heights[threadIdx.x] || (other == heights[threadIdx.x] && there < places[threadIdx.x]))
                heights[threadIdx.x] = other, places[threadIdx.x] = there;
        }
    }
    const double s = block_sum(sum, shared), q = block_sum(square, shared);
    if (threadIdx.x == 0) highest[out] = heights[0], place[out] = places[0], sums[2 * out] = s, sums[2 * out + 1] = q;
}

// For images (t, h, w) and the alternating sum c of each 2 x 2 pixels: (sum over images of c)² and the sum over images
// of c², each summed over the pixels of a block: partial (2, blocks).
extern "C" __global__ __launch_bounds__(256) void nyquist_power(
    const i1* __restrict__ images, int t, int h, int w, double* partial)
{
    __shared__ double shared[32];
    const int n = (h / 2) * (w / 2);
    double together = 0, each = 0;
    for (int at = blockIdx.x * 256 + threadIdx.x; at < n; at += gridDim.x * 256) {
        const i1* one = images + (i8)(at / (w / 2)) * 2 * w + at % (w / 2) * 2;
        int sum = 0;
        float square = 0;
#pragma unroll 8
        for (int f = 0; f < t; f++, one += (i8)h * w) {
            const int c = one[0] - one[1] - one[w] + one[w + 1];
            sum += c;
            square += (float)(c * c);
        }
        together += (double)sum * sum;
        each += square;
    }
    together = block_sum(together, shared);
    each = block_sum(each, shared);
    if (threadIdx.x == 0) partial[blockIdx.x] = together, partial[gridDim.x + blockIdx.x] = each;
}

#define MAX_DEGREE 15  // degree of a field's modes

// `Kernels.displacement_grid`: out (t, n) = moved (n) + sum over modes (i, j) of amplitudes (modes, t) P_i(x) P_j(y),
// with Legendre polynomials P and (x, y) = at (2, n) in -1 ... 1.
extern "C" __global__ void displacement_grid(
    const double* __restrict__ at, const double2* __restrict__ moved, int n, const int2* __restrict__ modes,
    int n_modes, const double2* __restrict__ amplitudes, int t, float2* out)
{
    const int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= n) return;
    double px[MAX_DEGREE + 1], py[MAX_DEGREE + 1];  // by Bonnet's recursion
    const double x = at[k], y = at[n + k];
    px[0] = py[0] = 1, px[1] = x, py[1] = y;
    for (int d = 1; d < MAX_DEGREE; d++) {
        px[d + 1] = ((2 * d + 1) * x * px[d] - d * px[d - 1]) / (d + 1);
        py[d + 1] = ((2 * d + 1) * y * py[d] - d * py[d - 1]) / (d + 1);
    }
    for (int f = 0; f < t; f++) {
        double2 u = moved[k];
        for (int m = 0; m < n_modes; m++) {
            const double v = px[modes[m].x] * py[modes[m].y];
            const double2 a = amplitudes[(i8)m * t + f];
            u.x += a.x * v, u.y += a.y * v;
        }
        out[(i8)f * n + k] = make_float2((float)u.x, (float)u.y);
    }
}

// `Kernels.subpixel_histogram` of displacements (t, n): each counts for the nearest four of bins x bins, in units of
// 1/65536. Integers, so that the order of sums does not matter. Grid (any, t).
extern "C" __global__ void subpixel_histogram(const float2* __restrict__ positions, int n, int bins, u8* counts)
{
    extern __shared__ u4 own[];  // at most 64 x 256 displacements per block, so 2^30
    for (int k = threadIdx.x; k < bins * bins; k += blockDim.x) own[k] = 0;
    __syncthreads();
    const float2* mine = positions + (i8)blockIdx.y * n;
    for (int k = blockIdx.x * blockDim.x + threadIdx.x; k < n; k += gridDim.x * blockDim.x) {
        const float2 p = mine[k];
        const double x = (double)(p.x - floorf(p.x)) * bins, y = (double)(p.y - floorf(p.y)) * bins;
        const int ix = (int)x, iy = (int)y;
        const double fx = x - ix, fy = y - iy;
        for (int j = 0; j < 2; j++)
            for (int i = 0; i < 2; i++) {
                const double part = (j ? fy : 1 - fy) * (i ? fx : 1 - fx);
                atomicAdd(&own[(iy + j) % bins * bins + (ix + i) % bins], (u4)__double2int_rn(part * 65536));
            }
    }
    __syncthreads();
    counts += (i8)blockIdx.y * bins * bins;
    for (int k = threadIdx.x; k < bins * bins; k += blockDim.x)
        if (own[k]) atomicAdd(&counts[k], (u8)own[k]);
}
