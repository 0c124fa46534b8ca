// Raw counts to corrected counts, as detector/calibration.py says. Bad pixels have gain NaN.
struct Calibration {
    const float* gain;  // (h, w)
    const float* dark;  // (h, w) or null
    const float* mean_counts;
    const float* limits;
    const i8* row_start;
    const i8* bad_columns;
    const float* bad_values;
    const float* edge_rows;
    const float* edge_columns;
    int h, w;
};

// The first parameters of kernels that correct counts, and the struct `c` that is made of them.
#define CALIBRATION                                                                                                   \
    const float *gain, const float *dark, const float *mean_counts, const float *limits, const i8 *row_start,         \
        const i8 *bad_columns, const float *bad_values, const float *edge_rows, const float *edge_columns, int h, int w
#define CALIBRATED                                                                                                    \
    const Calibration c = {gain,       dark,      mean_counts,  limits, row_start, bad_columns,                       \
                           bad_values, edge_rows, edge_columns, h,      w}

__device__ float bad_pixel_value(const Calibration& c, int y, int x)
{
    i8 low = c.row_start[y], high = c.row_start[y + 1];
    while (high - low > 1) {
        const i8 middle = (low + high) / 2;
        if (c.bad_columns[middle] <= x) low = middle;
        else high = middle;
    }
    return c.bad_values[low];
}

// Corrected count of a pixel on the frame, less the mean count; from its raw count and gain.
__device__ __forceinline__ float corrected_inside(
    const Calibration& c, RAW raw, float gain, int y, int x, float mean_count, float limit)
{
    float v = (float)raw;
    if (c.dark) v -= c.dark[(i8)y * c.w + x];
    v = v * gain - mean_count;
    if (v < limit) return v;
    return gain == gain ? 0.f : mean_count * bad_pixel_value(c, y, x);
}

__device__ __forceinline__ float corrected_inside(
    const Calibration& c, const RAW* frame, int y, int x, float mean_count, float limit)
{
    const i8 at = (i8)y * c.w + x;
    return corrected_inside(c, frame[at], c.gain[at], y, x, mean_count, limit);
}

// The same of any pixel: off the frame, the local mean of the nearest edge.
__device__ __forceinline__ float corrected_anywhere(
    const Calibration& c, const RAW* frame, int y, int x, float mean_count, float limit)
{
    if (y < 0 || y >= c.h) return mean_count * c.edge_rows[(y < 0 ? 0 : c.w) + min(max(x, 0), c.w - 1)];
    if (x < 0 || x >= c.w) return mean_count * c.edge_columns[(x < 0 ? 0 : c.h) + y];
    return corrected_inside(c, frame, y, x, mean_count, limit);
}
