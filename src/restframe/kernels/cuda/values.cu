// Values of whole images: sums of good pixels, and ranks.

// The number of good pixels and their sum, of the part of each block: partial (2, blocks).
extern "C" __global__ void sum_good_pixels(
    const float* __restrict__ image, const bool* __restrict__ bad, i8 n, double* partial)
{
    __shared__ double shared[32];
    double good_count = 0, total = 0;
    for (i8 k = (i8)blockIdx.x * blockDim.x + threadIdx.x; k < n; k += (i8)gridDim.x * blockDim.x)
        if (!bad[k]) {
            good_count += 1;
            total += image[k];
        }
    good_count = block_sum(good_count, shared);
    total = block_sum(total, shared);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = good_count;
        partial[gridDim.x + blockIdx.x] = total;
    }
}

// Bits whose order as an integer is the order of the values.
__device__ __forceinline__ u4 ordered(float v)
{
    const u4 bits = __float_as_uint(v);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// counts[r][d] += the number of values (n) whose ordered bits have the digit d at ``shift`` and the higher digits of
// selected[r], r = blockIdx.y.
extern "C" __global__ void count_digits(
    const float* __restrict__ values, i8 n, int shift, const u4* selected, u4* counts)
{
    __shared__ u4 count[256];
    const u4 known_digits = selected[blockIdx.y];
    counts += 256 * blockIdx.y;
    for (int k = threadIdx.x; k < 256; k += blockDim.x) count[k] = 0;
    __syncthreads();
    for (i8 first = (i8)blockIdx.x * blockDim.x; first < n; first += (i8)gridDim.x * blockDim.x) {
        const u4 key = first + threadIdx.x < n ? ordered(values[first + threadIdx.x]) : 0;
        const bool counted = first + threadIdx.x < n && (u8)key >> (shift + 8) == (u8)known_digits >> (shift + 8);
        const u4 digit = counted ? key >> shift & 255 : 256;
        // most values share few digits: a warp counts each digit once
        const u4 same = __match_any_sync(ALL_LANES, digit);
        if (counted && (threadIdx.x & 31) == __ffs(same) - 1) atomicAdd(&count[digit], __popc(same));
    }
    __syncthreads();
    for (int k = threadIdx.x; k < 256; k += blockDim.x)
        if (count[k]) atomicAdd(&counts[k], count[k]);
}

// The digit of the value with rank ranks[r], from 0, among the values that were counted is added to selected[r], and
// ranks[r] becomes the rank among the values with that digit. Counts become zero. One block of 256 threads for each r.
extern "C" __global__ void select_digit(int shift, i8* ranks, u4* selected, u4* counts)
{
    __shared__ i8 cumulative[256];
    const int d = threadIdx.x;
    const i8 rank = ranks[blockIdx.x];
    counts += 256 * blockIdx.x;
    cumulative[d] = counts[d];
    for (int distance = 1; distance < 256; distance *= 2) {
        __syncthreads();
        const i8 before = d >= distance ? cumulative[d - distance] : 0;
        __syncthreads();
        cumulative[d] += before;
    }
    __syncthreads();
    const i8 below = d ? cumulative[d - 1] : 0;
    if (below <= rank && rank < cumulative[d]) {
        selected[blockIdx.x] |= (u4)d << shift;
        ranks[blockIdx.x] = rank - below;
    }
    counts[d] = 0;
}
