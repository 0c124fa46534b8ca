// What all modules share: short names of types, 16-bit numbers, sums over a block.
typedef unsigned char u1;
typedef signed char i1;
typedef unsigned short u2;
typedef short i2;
typedef unsigned int u4;
typedef float f4;
typedef long long i8;
typedef unsigned long long u8;

typedef unsigned short half;  // the bits of a 16-bit floating point number

__device__ __forceinline__ float to_float(half v)
{
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v));
    return f;
}

__device__ __forceinline__ half to_half(float f)  // clipped to the largest finite number
{
    half v;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(v) : "f"(fminf(fmaxf(f, -65504.f), 65504.f)));
    return v;
}

#define ALL_LANES 0xffffffffu

// Sum over the threads of a block in one fixed order; the result is right in thread 0. ``shared``: 32 values.
__device__ inline double block_sum(double v, double* shared)
{
    for (int d = 16; d; d >>= 1) v += __shfl_down_sync(ALL_LANES, v, d);
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    __syncthreads();
    if (lane == 0) shared[warp] = v;
    __syncthreads();
    if (warp == 0) {
        v = lane < (int)(blockDim.x + 31) / 32 ? shared[lane] : 0;
        for (int d = 16; d; d >>= 1) v += __shfl_down_sync(ALL_LANES, v, d);
    }
    return v;
}
