// Values of whole images: what good pixels add up to, and how many values lie where.

// The number of good pixels and their sum, a part a block: partial (2, blocks).
extern "C" __global__ void good_sums(
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

// counts[d] += how many values (n) have the digit d at ``shift`` of their ordered bits and ``above`` all digits before.
extern "C" __global__ void digits(const float* __restrict__ values, i8 n, int shift, u4 above, u4* counts)
{
    __shared__ u4 count[256];
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
