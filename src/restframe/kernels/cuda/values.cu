// Values of whole images: what good pixels add up to, and how many values lie where.

// The number of good pixels and their sum, a part a block: partial (2, blocks).
extern "C" __global__ void sum_good_pixels(
    const float* __restrict__ image, const bool* __restrict__ bad, i8 n, double* partial)
{
    __shared__ double shared[32];
    double number = 0, total = 0;
    for (i8 k = (i8)blockIdx.x * blockDim.x + threadIdx.x; k < n; k += (i8)gridDim.x * blockDim.x)
        if (!bad[k]) {
            number += 1;
            total += image[k];
        }
    number = block_sum(number, shared);
    total = block_sum(total, shared);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = number;
        partial[gridDim.x + blockIdx.x] = total;
    }
}

// Bits whose order as a whole number is that of the value.
__device__ __forceinline__ u4 ordered(float v)
{
    const u4 bits = __float_as_uint(v);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// counts[r][d] += how many values (n) have the digit d at ``shift`` of their ordered bits and all digits before as
// ``found[r]`` has them, r = blockIdx.y.
extern "C" __global__ void count_digits(const float* __restrict__ values, i8 n, int shift, const u4* found, u4* counts)
{
    __shared__ u4 count[256];
    const u4 above = found[blockIdx.y];
    counts += 256 * blockIdx.y;
    for (int k = threadIdx.x; k < 256; k += blockDim.x) count[k] = 0;
    __syncthreads();
    for (i8 first = (i8)blockIdx.x * blockDim.x; first < n; first += (i8)gridDim.x * blockDim.x) {
        const u4 key = first + threadIdx.x < n ? ordered(values[first + threadIdx.x]) : 0;
        const bool counted = first + threadIdx.x < n && (u8)key >> (shift + 8) == (u8)above >> (shift + 8);
        const u4 digit = counted ? key >> shift & 255 : 256;
        const u4 same = __match_any_sync(EVERY, digit);  // values crowd in few digits: a warp counts each of them once
        if (counted && (threadIdx.x & 31) == __ffs(same) - 1) atomicAdd(&count[digit], __popc(same));
    }
    __syncthreads();
    for (int k = threadIdx.x; k < 256; k += blockDim.x)
        if (count[k]) atomicAdd(&counts[k], count[k]);
}

// Of the values that were counted, the one of rank ``ranks[r]`` from 0 has which digit? That goes to ``found[r]``, its
// rank among those with that digit to ``ranks[r]``; counts are zero again. One block of 256 threads for each r.
extern "C" __global__ void select_digit(int shift, i8* ranks, u4* found, u4* counts)
{
    __shared__ i8 upto[256];
    const int d = threadIdx.x;
    const i8 rank = ranks[blockIdx.x];
    counts += 256 * blockIdx.x;
    upto[d] = counts[d];
    for (int reach = 1; reach < 256; reach *= 2) {
        __syncthreads();
        const i8 before = d >= reach ? upto[d - reach] : 0;
        __syncthreads();
        upto[d] += before;
    }
    __syncthreads();
    const i8 below = d ? upto[d - 1] : 0;
    if (below <= rank && rank < upto[d]) {
        found[blockIdx.x] |= (u4)d << shift;
        ranks[blockIdx.x] = rank - below;
    }
    counts[d] = 0;
}
