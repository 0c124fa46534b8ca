// Compressed strips of TIFF files and frames of EER files to counts: one warp per stream, thousands of streams in parallel.

#define GOOD 0
#define DAMAGED 1   // or of a kind that only the CPU can decode
#define TOO_LONG 2  // for a table of 16 bits

// 32 bits from ``bit`` on, the first bit highest. Words of the file are in memory byte by byte.
__device__ __forceinline__ u4 high_first(const u4* words, i8 bit)
{
    const u4 a = __byte_perm(words[bit >> 5], 0, 0x0123), b = __byte_perm(words[(bit >> 5) + 1], 0, 0x0123);
    return __funnelshift_l(b, a, bit & 31);
}

// The same with the first bit lowest.
__device__ __forceinline__ u4 low_first(const u4* words, i8 bit)
{
    return __funnelshift_r(words[bit >> 5], words[(bit >> 5) + 1], bit & 31);
}

__device__ __forceinline__ int before(int v, int lane, int& total)  // sum over lower lanes
{
    int s = v;
    for (int d = 1; d < 32; d *= 2) {
        const int o = __shfl_up_sync(ALL_LANES, s, d);
        if (lane >= d) s += o;
    }
    total = __shfl_sync(ALL_LANES, s, 31);
    return s - v;
}

// ---- LZW, as TIFF has it
// After a clear code, code number n makes the table's entry 257 + n: the string of code n - 1 and the byte after it. So
// an entry is a part of the bytes that are already decoded, and the place of code n - 1 determines it. The widths of
// codes depend on their number only, so a warp reads 32 codes at a time.

#define CLEAR 256
#define END 257
#define ENTRIES 3840

__device__ __forceinline__ i8 lzw_bits(int n)  // taken by the first n codes after a clear code
{
    return n <= 254 ? 9 * n : n <= 766 ? 10 * n - 254 : n <= 1790 ? 11 * n - 1020 : 12 * n - 2810;
}

__device__ __forceinline__ int lzw_width(int n)
{
    return n < 254 ? 9 : n < 766 ? 10 : n < 1790 ? 11 : 12;
}

template <typename Place>
__device__ void lzw_stream(const u4* words, i8 first_bit, i8 last_bit, u1* out, int size, Place* place, int* status)
{
    const int lane = threadIdx.x;
    const i8 most = sizeof(Place) == 2 ? 65535 : 1 << 30;
    i8 bit = first_bit;
    int n = -1;              // number of the next code since the last clear code; -1: there was none
    int done = 0, since = 0;  // bytes decoded, and when the table was cleared
    int wrong = GOOD;
    while (done < size) {
        const int number = max(n, 0) + lane;
        const i8 at = bit + lzw_bits(number) - lzw_bits(max(n, 0));
        const int width = lzw_width(number);
        const bool there = at + width <= last_bit && number < 4100;
        const int code = there ? (int)(high_first(words, at) >> (32 - width)) : END;
        const u4 stops = __ballot_sync(ALL_LANES, code == CLEAR || code == END);
        const int codes = stops ? __ffs(stops) - 1 : 32;
        if (codes && n < 0) {
            wrong = DAMAGED;
            break;
        }
        if (codes) {
            const bool mine = lane < codes;
            const int source = code - CLEAR - 2;  // the number of the code whose string it continues
            if (__any_sync(ALL_LANES, mine && (source >= number || number > ENTRIES - 1))) {
                wrong = DAMAGED;
                break;
            }
            // place[n] and all before are known
            int length = 1, from = 0;
            bool open = false;
            if (mine && source >= 0) {
                open = source >= n;
                if (!open) {
                    from = since + place[source];
                    length = place[source + 1] - place[source] + 1;
                }
            }
            if (!mine) length = 0;
            while (__any_sync(ALL_LANES, open)) {
                const int of = open ? source - n : lane;
                const int other = __shfl_sync(ALL_LANES, length, of);
                const bool waits = __shfl_sync(ALL_LANES, (int)open, of);
                if (open && !waits) {
                    length = other + 1;
                    open = false;
                }
            }
            int total;
            const int to = done + before(length, lane, total);
            const bool near = mine && source >= n;
            const int theirs = __shfl_sync(ALL_LANES, to, near ? source - n : lane);
            if (near) from = theirs;
            if (done + total - since > most) {
                wrong = TOO_LONG;
                break;
            }
            if (mine) place[number] = (Place)(to - since);
            if (lane == 0) place[n + codes] = (Place)(done + total - since);
            // strings from before these 32 codes, and single bytes
            const bool apart = mine && (source < 0 || from + length <= done);
            if (mine && source < 0 && to < size) out[to] = (u1)code;
            if (apart && source >= 0) {
                const int end = min(length, size - to);
                const u1* p = out + from;
                u1* o = out + to;
                for (int i = 0; i < end; i += 4) {
                    u1 v[4];
#pragma unroll
                    for (int k = 0; k < 4; k++)
                        if (i + k < end) v[k] = p[i + k];
#pragma unroll
                    for (int k = 0; k < 4; k++)
                        if (i + k < end) o[i + k] = v[k];
                }
            }
            __syncwarp();
            // strings that need bytes of these 32 codes, in order
            u4 left = __ballot_sync(ALL_LANES, mine && !apart);
            while (left) {
                const int who = __ffs(left) - 1;
                left &= left - 1;
                const int p = __shfl_sync(ALL_LANES, from, who), o = __shfl_sync(ALL_LANES, to, who);
                const int end = min(__shfl_sync(ALL_LANES, length, who), size - o);
                for (int i = lane; i < end; i += 32) out[o + i] = out[p + (i == o - p ? 0 : i)];
                __syncwarp();
            }
            bit += lzw_bits(n + codes) - lzw_bits(n);
            n += codes;
            done += total;
        }
        if (stops) {
            const int stop = __shfl_sync(ALL_LANES, code, codes);
            if (stop == END) break;
            bit += lzw_width(max(n, 0));
            n = 0;
            since = done;
            if (lane == 0) place[0] = 0;
        }
        __syncwarp();
    }
    // The last string must end with the strip, and only the code for the end and padding may follow; what programs do
    // otherwise is left to the CPU (movie/lzw.py).
    bool ends_well = done == size;
    if (last_bit - bit >= 8) {
        const int width = lzw_width(max(n, 0));
        const i8 padding = last_bit - bit - width;
        ends_well = ends_well && padding >= 0 && padding <= 15 && (int)(high_first(words, bit) >> (32 - width)) == END;
    }
    if (lane == 0) *status = wrong != GOOD ? wrong : ends_well ? GOOD : DAMAGED;
}

// Streams ``which`` (null: all n): count[i] bytes from start[i] on are decoded to size[i] bytes at out + place[i].
// ``file`` is aligned to 4 bytes and readable to 8 bytes beyond its end.
#define STREAMS                                                                                                       \
    const u1 *file, const i8 *start, const i8 *count, u1 *out, const i8 *place, const int *size, int *status,         \
        const int *which

template <typename Place>
__device__ void lzw(STREAMS, Place* table)
{
    const int i = which ? which[blockIdx.x] : blockIdx.x;
    const i8 bit = 8 * start[i];
    lzw_stream((const u4*)file, bit, bit + 8 * count[i], out + place[i], size[i], table, status + i);
}

extern "C" __global__ __launch_bounds__(32) void lzw_short(STREAMS)
{
    __shared__ u2 table[ENTRIES + 1];
    lzw(file, start, count, out, place, size, status, which, table);
}

extern "C" __global__ __launch_bounds__(32) void lzw_long(STREAMS)
{
    __shared__ int table[ENTRIES + 1];
    lzw(file, start, count, out, place, size, status, which, table);
}

// ---- Deflate (RFC 1951) in a zlib stream (RFC 1950)
// All lanes read the same codes. Single bytes stay in the lanes until there are 32; all lanes copy a match.

#define QUICK 10   // bits of a code for which one look-up in the table is enough
#define QUICK_DISTANCE 8

struct Huffman {
    u2* quick;  // symbol << 4 | bits; 0: longer
    int bits;
    int *first, *offset, *number;  // for each of 16 lengths: first code, where its symbols begin, how many
    u2* symbols;
};

__device__ const u1 ORDER_OF_LENGTHS[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

// Makes the canonical code from the lengths of its symbols; false if they give no code.
__device__ bool make_huffman(Huffman& h, const u1* lengths, int n)
{
    const int lane = threadIdx.x;
    if (lane < 16) {
        int count = 0;
        for (int k = 0; k < n; k++) count += lengths[k] == lane;
        h.number[lane] = lane ? count : 0;
    }
    for (int k = lane; k < 1 << h.bits; k += 32) h.quick[k] = 0;
    __syncwarp();
    bool good = true;
    if (lane == 0) {
        int code = 0, at = 0, room = 1 << 15;
        for (int b = 1; b < 16; b++) {
            code <<= 1;
            h.first[b] = code, h.offset[b] = at;
            code += h.number[b], at += h.number[b];
            room -= h.number[b] << (15 - b);
        }
        good = room >= 0;
    }
    good = __shfl_sync(ALL_LANES, (int)good, 0);
    __syncwarp();
    if (!good) return false;
    // symbols of one length in their order: one lane for each length
    if (lane > 0 && lane < 16) {
        int at = h.offset[lane], code = h.first[lane];
        for (int k = 0; k < n; k++)
            if (lengths[k] == lane) {
                h.symbols[at++] = (u2)k;
                if (lane <= h.bits)
                    for (int q = __brev(code) >> (32 - lane); q < 1 << h.bits; q += 1 << lane)
                        h.quick[q] = (u2)(k << 4 | lane);
                code++;
            }
    }
    __syncwarp();
    return true;
}

// Decodes a code that is longer than those of the table; -1 if there is none.
__device__ int slow_symbol(const Huffman& h, u4 bits, int& used)
{
    int code = 0;
    for (int b = 1; b < 16; b++) {
        code = code << 1 | (bits & 1);
        bits >>= 1;
        const int k = code - h.first[b];
        if (k >= 0 && k < h.number[b]) {
            used = b;
            return h.symbols[h.offset[b] + k];
        }
    }
    return -1;
}

__device__ __forceinline__ int symbol(const Huffman& h, u4 bits, int& used)
{
    const int e = h.quick[bits & ((1 << h.bits) - 1)];
    used = e & 15;
    return e ? e >> 4 : slow_symbol(h, bits, used);
}

extern "C" __global__ __launch_bounds__(32) void deflate(STREAMS)
{
    __shared__ u2 quick[1 << QUICK], quick_distance[1 << QUICK_DISTANCE], symbols[288], symbols_distance[32];
    __shared__ int numbers[6 * 16];
    __shared__ u1 lengths[320];
    const int i = which ? which[blockIdx.x] : blockIdx.x, lane = threadIdx.x, end = size[i];
    const u4* words = (const u4*)file;
    i8 bit = 8 * start[i];
    const i8 last = bit + 8 * count[i];
    u1* o = out + place[i];
    Huffman literal = {quick, QUICK, numbers, numbers + 16, numbers + 32, symbols};
    Huffman distance = {quick_distance, QUICK_DISTANCE, numbers + 48, numbers + 64, numbers + 80, symbols_distance};
    int done = 0, waiting = 0;  // bytes written, bytes that are still in the lanes
    u1 own = 0;
    const u4 head = low_first(words, bit);
    bool good = (head & 15) == 8 && ((head & 255) << 8 | (head >> 8 & 255)) % 31 == 0 && !(head >> 13 & 1);
    bit += 16;
    bool more = true;
    while (good && more && bit < last) {
        u4 v = low_first(words, bit);
        more = !(v & 1);
        const int kind = v >> 1 & 3;
        bit += 3;
        if (kind == 0) {
            if (lane < waiting && done + lane < end) o[done + lane] = own;
            done += waiting, waiting = 0;
            bit = (bit + 7) & ~7ll;
            v = low_first(words, bit);
            const int n = v & 0xffff;
            good = (v >> 16) == (~v & 0xffff) && bit + 32 + 8ll * n <= last;
            bit += 32;
            if (good)
                for (int k = lane; k < n; k += 32)
                    if (done + k < end) o[done + k] = file[(bit >> 3) + k];
            __syncwarp();
            done += n;
            bit += 8ll * n;
            continue;
        }
        if (kind == 3) {
            good = false;
            break;
        }
        if (kind == 1) {
            for (int k = lane; k < 320; k += 32)
                lengths[k] = k < 144 ? 8 : k < 256 ? 9 : k < 280 ? 7 : k < 288 ? 8 : 5;
            __syncwarp();
            good = make_huffman(literal, lengths, 288) && make_huffman(distance, lengths + 288, 30);
        } else {
            v = low_first(words, bit);
            const int nl = (v & 31) + 257, nd = (v >> 5 & 31) + 1, nc = (v >> 10 & 15) + 4;
            bit += 14;
            for (int k = lane; k < 19; k += 32) lengths[k] = 0;
            __syncwarp();
            for (int k = lane; k < nc; k += 32) lengths[ORDER_OF_LENGTHS[k]] = low_first(words, bit + 3 * k) & 7;
            __syncwarp();
            bit += 3 * nc;
            good = make_huffman(distance, lengths, 19);  // its memory is used for this code first
            int k = 0, previous = 0;
            while (good && k < nl + nd && bit < last) {
                v = low_first(words, bit);
                int used = 0;
                const int s = symbol(distance, v, used);
                if (s < 0) good = false;
                bit += used;
                v >>= used;
                int repeat = 1, value = s;
                if (s == 16) repeat = 3 + (v & 3), value = previous, bit += 2, good = good && k > 0;
                if (s == 17) repeat = 3 + (v & 7), value = 0, bit += 3;
                if (s == 18) repeat = 11 + (v & 127), value = 0, bit += 7;
                if (k + repeat > nl + nd) good = false;
                for (int q = lane; good && q < repeat; q += 32) lengths[k + q] = (u1)value;
                previous = value;
                k += repeat;
            }
            __syncwarp();
            good = good && make_huffman(literal, lengths, nl) && make_huffman(distance, lengths + nl, nd);
        }
        while (good) {
            if (bit >= last) {
                good = false;
                break;
            }
            u4 b = low_first(words, bit);
            int used = 0, taken = 0;
            int s = symbol(literal, b, used);
            // the same 32 bits often hold more bytes
            while (s >= 0 && s < 256) {
                if (lane == waiting) own = (u1)s;
                bit += used;
                if (++waiting == 32) {
                    if (done + lane < end) o[done + lane] = own;
                    done += 32, waiting = 0;
                }
                b >>= used;
                taken += used;
                const int e = quick[b & ((1 << QUICK) - 1)];
                used = e & 15;
                s = e && taken + QUICK <= 32 ? e >> 4 : -2;
            }
            if (s == -2) continue;
            if (s < 0 || s > 285) {
                good = false;
                break;
            }
            bit += used;
            if (s == 256) break;
            b = low_first(words, bit);
            int length = s - 254;
            if (s == 285) length = 258;
            else if (s > 264) {
                const int extra = (s - 261) / 4;
                length = ((4 + (s - 261) % 4) << extra) + 3 + (b & ((1 << extra) - 1));
                bit += extra;
                b >>= extra;
            }
            s = symbol(distance, b, used);
            if (s < 0 || s > 29) {
                good = false;
                break;
            }
            bit += used;
            int back = s + 1;
            if (s > 3) {
                const int extra = s / 2 - 1;
                back = ((2 + s % 2) << extra) + 1 + (low_first(words, bit) & ((1 << extra) - 1));
                bit += extra;
            }
            if (lane < waiting && done + lane < end) o[done + lane] = own;
            done += waiting, waiting = 0;
            if (back > done) {
                good = false;
                break;
            }
            __syncwarp();
            for (int k = lane; k < length; k += 32)
                if (done + k < end) o[done + k] = o[done - back + k % back];
            done += length;
            __syncwarp();
            if (done > end) break;
        }
        if (done > end) break;
    }
    if (lane < waiting && done + lane < end) o[done + lane] = own;
    done += waiting;
    good = good && !more && done == end;  // some writers pad the last strip: the CPU decodes that
    __syncwarp();
    if (good) {  // Adler-32, the checksum of the stream
        bit = (bit + 7) & ~7ll;
        u8 a = 0, b = 0;
        for (int k = lane; k < end; k += 32) {
            a += o[k];
            b += (u8)(end - k) * o[k];
        }
        for (int d = 16; d; d >>= 1) a += __shfl_xor_sync(ALL_LANES, a, d), b += __shfl_xor_sync(ALL_LANES, b, d);
        const u4 check = (u4)((b + end) % 65521) << 16 | (u4)((a + 1) % 65521);
        good = bit + 32 <= last && check == __byte_perm(low_first(words, bit), 0, 0x0123);
    }
    if (lane == 0) status[i] = good ? GOOD : DAMAGED;
}

// ---- EER (movie/events.py)

// Electrons of stream i are added to frame target[i] of out (., h << level, w << level), counts of 1 or 2 ``bytes``: 32
// symbols at a time, up to the first that lies beyond the frame. used[i]: bits up to the end of the last, -1: damaged.
extern "C" __global__ __launch_bounds__(32) void eer(
    const u1* file, const i8* start, const i8* count, const int* target, u4* out, int bytes, int h, int w, int run_bits,
    int x_bits, int y_bits, int always, int level, i8* used)
{
    const int i = blockIdx.x, lane = threadIdx.x, width = run_bits + x_bits + y_bits, longest = (1 << run_bits) - 1;
    const u4* words = (const u4*)file;
    const i8 first = 8 * start[i], last = first + 8 * count[i];
    const int n = h * w, row_pixels = w << level;
    const i8 frame = (i8)target[i] * ((i8)n << 2 * level);
    i8 bit = first, end = -1;
    int done = 0;
    while (bit + run_bits <= last) {
        const i8 at = bit + lane * width;
        const bool there = at + run_bits <= last;
        const u4 v = there ? low_first(words, at) : 0;
        const int run = v & longest;
        const bool electron = run < longest;
        const u4 stops = __ballot_sync(ALL_LANES, !there || !(electron || always));
        const int symbols = stops ? __ffs(stops) - 1 : 32;
        int total;
        const int place = done + before(lane < symbols ? run + electron : 0, lane, total) + run;
        const u4 over = __ballot_sync(ALL_LANES, lane < symbols && place >= n);
        if (lane < symbols && electron && place < n) {
            int y = place / w, x = place - y * w;
            if (level) {
                const int sx = v >> run_bits & ((1 << x_bits) - 1), sy = v >> (run_bits + x_bits) & ((1 << y_bits) - 1);
                x = x << level | (sx ^ 1 << (x_bits - 1)) >> (x_bits - level);
                y = y << level | (sy ^ 1 << (y_bits - 1)) >> (y_bits - level);
            }
            const i8 byte = (frame + (i8)y * row_pixels + x) * bytes;
            atomicAdd(out + (byte >> 2), 1u << 8 * (int)(byte & 3));
        }
        if (over) {
            const int who = __ffs(over) - 1;
            if (__shfl_sync(ALL_LANES, place, who) == n) end = bit + (who + 1) * width;
            break;
        }
        done += total;
        bit += symbols * width;
        if (symbols < 32) {
            if (bit + run_bits > last) break;
            done += longest;
            bit += run_bits;
            if (done == n) end = bit;
            if (done >= n) break;
        }
    }
    if (lane == 0) used[i] = end < 0 ? -1 : end - first;
}

// ---- rows of decoded strips in reverse order: TIFF counts rows from the top

// in: strips one after the other, rows of ``row`` bytes, h rows per frame; out: the last row of each frame first.
extern "C" __global__ void flip_rows(const u1* __restrict__ in, u1* __restrict__ out, int h, int row)
{
    const i8 y = blockIdx.y, f = blockIdx.z, from = (f * h + y) * row, to = (f * h + h - 1 - y) * row;
    const int x = (blockIdx.x * blockDim.x + threadIdx.x) * 16;
    if (((from | to) & 15) == 0 && (row & 15) == 0) {
        if (x < row) *(uint4*)(out + to + x) = *(const uint4*)(in + from + x);
        return;
    }
    for (int k = x; k < min(x + 16, row); k++) out[to + k] = in[from + k];
}
