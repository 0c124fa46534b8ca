// Raw counts to corrected ones (detector/calibration.py). Bad pixels have gain NaN.
struct Calibration {
    const float* gain;  // (h, w)
    const float* dark;  // (h, w) or null
    const float* levels;
    const float* limits;
    const i8* first;
    const i8* columns;
    const float* values;
    const float* edge_rows;
    const float* edge_columns;
    int h, w;
};

// A kernel's first parameters, and what they become.
#define CALIBRATION                                                                                                   \
    const float *gain, const float *dark, const float *levels, const float *limits, const i8 *first,                  \
        const i8 *columns, const float *values, const float *edge_rows, const float *edge_columns, int h, int w
#define CALIBRATED \
    const Calibration c = {gain, dark, levels, limits, first, columns, values, edge_rows, edge_columns, h, w}

__device__ float bad_value(const Calibration& c, int y, int x)
{
    i8 low = c.first[y], high = c.first[y + 1];
    while (high - low > 1) {
        const i8 middle = (low + high) / 2;
        if (c.columns[middle] <= x) low = middle;
        else high = middle;
    }
    return c.values[low];
}

// Corrected count at y, x, less its level, of a raw one and its gain.
__device__ __forceinline__ float inside(
    const Calibration& c, RAW raw, float gain, int y, int x, float level, float limit)
{
    float v = (float)raw;
    if (c.dark) v -= c.dark[(i8)y * c.w + x];
    v = v * gain - level;
    if (v < limit) return v;
    return gain == gain ? 0.f : level * bad_value(c, y, x);
}

__device__ __forceinline__ float inside(const Calibration& c, const RAW* frame, int y, int x, float level, float limit)
{
    const i8 at = (i8)y * c.w + x;
    return inside(c, frame[at], c.gain[at], y, x, level, limit);
}

// The same anywhere: off the frame, the local mean of the nearest edge.
__device__ __forceinline__ float anywhere(
    const Calibration& c, const RAW* frame, int y, int x, float level, float limit)
{
    if (y < 0 || y >= c.h) return level * c.edge_rows[(y < 0 ? 0 : c.w) + min(max(x, 0), c.w - 1)];
    if (x < 0 || x >= c.w) return level * c.edge_columns[(x < 0 ? 0 : c.h) + y];
    return inside(c, frame, y, x, level, limit);
}
