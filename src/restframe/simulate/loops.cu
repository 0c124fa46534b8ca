// The simulator's loops on a GPU. What they give does not depend on the order in which threads run: sums are those of
// integers.
typedef unsigned long long u8;

// Atoms (n, 3) in every pixel of images (p, box, box), 0 before, as ``turns`` (p, 2, 3) project them.
extern "C" __global__ void put_atoms(const double* atoms, int n, const double* turns, double pixel, int box, int* images)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const double *a = atoms + 3 * i, *r = turns + 6 * blockIdx.y;
    const int x = (int)rint((a[0] * r[0] + a[1] * r[1] + a[2] * r[2]) / pixel) + box / 2;
    const int y = (int)rint((a[0] * r[3] + a[1] * r[4] + a[2] * r[5]) / pixel) + box / 2;
    atomicAdd(images + ((size_t)blockIdx.y * box + y) * box + x, 1);
}

// Spectra (n, box, box/2 + 1) times exp(-2πi k·shift) sinc(k·travel), shift and travel (n, 2: x, y pixels); 0 from n on.
extern "C" __global__ void move_boxes(
    const float2* spectra, const float* shift, const float* travel, int n, int box, float2* out)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y, p = blockIdx.z, half = box / 2 + 1;
    if (x >= half) return;
    const size_t at = ((size_t)p * box + y) * half + x;
    if (p >= n) {
        out[at] = make_float2(0, 0);
        return;
    }
    const float kx = (float)x / box, ky = (float)(y < box / 2 ? y : y - box) / box;
    float s, c;
    sincospif(-2 * (kx * shift[2 * p] + ky * shift[2 * p + 1]), &s, &c);
    const float along = kx * travel[2 * p] + ky * travel[2 * p + 1];
    const float blur = along == 0 ? 1 : sinpif(along) / (3.14159265f * along);
    const float2 v = spectra[at];
    out[at] = make_float2(blur * (v.x * c - v.y * s), blur * (v.x * s + v.y * c));
}

// page (h, w), periodic, in units of 2^-30, += stamps (p, box, box) whose first pixels lie at ``corners`` (p, 2: x, y).
extern "C" __global__ void add_stamps(const float* stamps, const int* corners, int box, int h, int w, u8* page)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y, p = blockIdx.z;
    if (x >= box) return;
    const int row = (corners[2 * p + 1] + y) % h, column = (corners[2 * p] + x) % w;
    const long long v = llrintf(stamps[((size_t)p * box + y) * box + x] * 1073741824.f);
    atomicAdd(page + (size_t)row * w + column, (u8)v);  // two's complement: negative ones too
}

// Values at ``where`` (n,) of a table whose samples stand 1 / per apart, linear between them.
extern "C" __global__ void look_up(const float* where, long long n, const float* table, int samples, float per, float* out)
{
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float at = where[i] * per;
    const int left = min((int)at, samples - 2);
    out[i] = table[left] + (at - left) * (table[left + 1] - table[left]);
}

// The i-th number in [0, 1) of the sequence SplitMix64 (Steele, Lea and Flood 2014) from ``key``.
__device__ double uniform(u8 key, u8 i)
{
    u8 z = key + (i + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return ((z ^ (z >> 31)) >> 11) * (1.0 / 9007199254740992.0);
}

// Poisson counts with means (n,), at most ``top``: the first count whose cumulative probability is above a number in
// [0, 1). Large means are drawn in parts, because exp(-mean) must not vanish.
extern "C" __global__ void poisson(const float* mean, long long n, u8 key, int top, unsigned short* counts)
{
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int total = 0;
    u8 draw = i;
    for (double left = mean[i]; left > 0; left -= 500, draw += n) {
        const double m = fmin(left, 500.0), u = uniform(key, draw);
        double p = exp(-m), below = p;
        int k = 0;
        while (u >= below && (k < m || p > 1e-18)) {
            p *= m / ++k;
            below += p;
        }
        total += k;
    }
    counts[i] = min(total, top);
}
