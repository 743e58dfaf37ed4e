// Attention over keys and values in pages, on tensor cores: scores are formed for a page at a time and never
// leave the registers (Dao, "FlashAttention-2", arXiv 2307.08691).
//
// The keys of a sequence are cut at every SPLIT-th token. Within a piece the softmax runs on from page to
// page; the pieces are then put together in order. That is one order of operations for a row, whether one
// block goes through all pieces (`attention_*`, for prompts) or a block does a piece and `join_*` puts
// them together (`attention_split_*`, for single tokens), and whichever rows stand beside it: a page that
// a row does not see changes none of its bits. The compiler must not contract products and sums
// (--fmad=false), lest the two differ.

#define SPLIT_PAGES 16

// Rows of a sequence that a block takes.
struct Tile {
    // Row of the first query.
    int row;
    // How many tokens.
    int tokens;
    // The first one's place in its sequence.
    int place;
    // Keys of the sequence, including those of these tokens.
    int keys;
    // Where its pages begin in the table.
    int table;
    // The first one's row among those whose keys are divided.
    int part;
};


// Puts a piece behind those before it.
static __device__ __forceinline__ void join(
    float most, float sum, float own_most, float own_sum, float* new_most, float* new_sum, float* old_scale,
    float* own_scale) {
    float greatest = own_most > most ? own_most : most;
    *old_scale = most == -INFINITY_F ? 0.0f : exp2f(most - greatest);
    *own_scale = own_most == -INFINITY_F ? 0.0f : exp2f(own_most - greatest);
    *new_most = greatest;
    *new_sum = fmaf(sum, *old_scale, own_sum * *own_scale);
}

// The block's rows are the heads that share a key head, token by token; a warp takes 16 of them. `reach`
// below 0: all keys up to the query's own (causal); 0: all keys; else those up to `reach - 1` away.
template <int WIDTH, bool SPLIT>
static __device__ __forceinline__ void attend(
    bf16* out, float* parts, float* part_sums, const bf16* queries, const bf16* pages, const int* tables,
    const Tile* tiles, int heads, int key_heads, int reach, float scale, long long page_stride,
    long long layer_start, long long rows) {
    __shared__ __align__(16) bf16 keys[PAGE][WIDTH + 8];
    __shared__ __align__(16) bf16 values[WIDTH][PAGE + 8];
    const Tile tile = tiles[blockIdx.x];
    const int key_head = blockIdx.y;
    const int group = heads / key_heads;
    const int lane = threadIdx.x % WARP;
    const int line = lane / 4;
    const int column = lane % 4;

    // What the block's first and last tokens see, and the pages of that.
    const int last = tile.place + tile.tokens - 1;
    int from = reach > 0 ? tile.place - (reach - 1) : 0;
    from = from < 0 ? 0 : from;
    int to = reach < 0 ? last + 1 : reach == 0 ? tile.keys : last + reach;
    to = to > tile.keys ? tile.keys : to;
    int first_page = from / PAGE;
    int end_page = (to + PAGE - 1) / PAGE;
    if (SPLIT) {
        int begin = blockIdx.z * SPLIT_PAGES;
        first_page = first_page < begin ? begin : first_page;
        end_page = end_page > begin + SPLIT_PAGES ? begin + SPLIT_PAGES : end_page;
        if (begin * PAGE >= to) {
            return;
        }
    }

    // The two rows of this thread: their query, and the keys that they see.
    unsigned query[WIDTH / 16][4];
    int low[2], high[2];
    long long row_of[2];
    for (int half = 0; half < 2; half++) {
        int at = threadIdx.x / WARP * 16 + line + half * 8;
        int token = at / group;
        bool real = token < tile.tokens;
        int place = tile.place + token;
        row_of[half] = real ? (long long)(tile.row + token) * heads + key_head * group + at % group : -1;
        low[half] = reach > 0 ? place - (reach - 1) : 0;
        high[half] = reach < 0 ? place + 1 : reach == 0 ? tile.keys : place + reach;
        high[half] = !real ? 0 : high[half] > tile.keys ? tile.keys : high[half];
        const unsigned* own = (const unsigned*)(queries + (real ? row_of[half] * WIDTH : 0));
#pragma unroll
        for (int step = 0; step < WIDTH / 16; step++) {
            query[step][half] = real ? own[step * 8 + column] : 0u;
            query[step][half + 2] = real ? own[step * 8 + column + 4] : 0u;
        }
    }

    float all[WIDTH / 8][4];
    float all_most[2] = {-INFINITY_F, -INFINITY_F}, all_sum[2] = {0.0f, 0.0f};
    float own[WIDTH / 8][4];
    float most[2] = {-INFINITY_F, -INFINITY_F}, sum[2] = {0.0f, 0.0f};
#pragma unroll
    for (int tile8 = 0; tile8 < WIDTH / 8; tile8++) {
#pragma unroll
        for (int at = 0; at < 4; at++) {
            all[tile8][at] = 0.0f;
            own[tile8][at] = 0.0f;
        }
    }

    for (int page = first_page; page < end_page; page++) {
        const bf16* from_page = pages + (long long)tables[tile.table + page] * page_stride + layer_start
            + (long long)key_head * 2 * PAGE * WIDTH;
        // Behind the last key there may be anything, and what is not a number would spread.
        int written = tile.keys - page * PAGE;
        __syncthreads();
        for (int at = threadIdx.x; at < PAGE * WIDTH / 8; at += blockDim.x) {
            *(uint4*)&keys[at / (WIDTH / 8)][at % (WIDTH / 8) * 8] = ((const uint4*)from_page)[at];
        }
        for (int at = threadIdx.x; at < PAGE * WIDTH / 8; at += blockDim.x) {
            int token = at % (PAGE / 8) * 8;
            bf16* to_place = &values[at / (PAGE / 8)][token];
            *(uint4*)to_place = ((const uint4*)(from_page + PAGE * WIDTH))[at];
            for (int beyond = written < token ? token : written; beyond < token + 8; beyond++) {
                to_place[beyond - token] = 0;
            }
        }
        __syncthreads();

        float score[PAGE / 8][4];
#pragma unroll
        for (int tile8 = 0; tile8 < PAGE / 8; tile8++) {
#pragma unroll
            for (int at = 0; at < 4; at++) {
                score[tile8][at] = 0.0f;
            }
#pragma unroll
            for (int step = 0; step < WIDTH / 16; step++) {
                const unsigned* key = (const unsigned*)&keys[tile8 * 8 + line][step * 16];
                mma(score[tile8], query[step], key[column], key[column + 4]);
            }
        }
        float new_most[2] = {most[0], most[1]};
#pragma unroll
        for (int tile8 = 0; tile8 < PAGE / 8; tile8++) {
#pragma unroll
            for (int at = 0; at < 4; at++) {
                int key = page * PAGE + tile8 * 8 + column * 2 + at % 2;
                int half = at / 2;
                bool seen = key >= low[half] && key < high[half];
                float value = seen ? score[tile8][at] * scale : -INFINITY_F;
                score[tile8][at] = value;
                new_most[half] = value > new_most[half] ? value : new_most[half];
            }
        }
        float shrink[2], added[2] = {0.0f, 0.0f};
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float other = shuffle_xor(new_most[half], 1);
            new_most[half] = other > new_most[half] ? other : new_most[half];
            other = shuffle_xor(new_most[half], 2);
            new_most[half] = other > new_most[half] ? other : new_most[half];
            shrink[half] = most[half] == -INFINITY_F ? 0.0f : exp2f(most[half] - new_most[half]);
            most[half] = new_most[half];
        }
#pragma unroll
        for (int tile8 = 0; tile8 < PAGE / 8; tile8++) {
#pragma unroll
            for (int at = 0; at < 4; at++) {
                int half = at / 2;
                float value = score[tile8][at];
                value = value == -INFINITY_F ? 0.0f : exp2f(value - most[half]);
                score[tile8][at] = value;
                added[half] += value;
            }
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            added[half] += shuffle_xor(added[half], 1);
            added[half] += shuffle_xor(added[half], 2);
            sum[half] = fmaf(sum[half], shrink[half], added[half]);
        }
        unsigned weights[PAGE / 16][4];
#pragma unroll
        for (int step = 0; step < PAGE / 16; step++) {
            weights[step][0] = narrow_two(score[2 * step][0], score[2 * step][1]);
            weights[step][1] = narrow_two(score[2 * step][2], score[2 * step][3]);
            weights[step][2] = narrow_two(score[2 * step + 1][0], score[2 * step + 1][1]);
            weights[step][3] = narrow_two(score[2 * step + 1][2], score[2 * step + 1][3]);
        }
#pragma unroll
        for (int tile8 = 0; tile8 < WIDTH / 8; tile8++) {
#pragma unroll
            for (int at = 0; at < 4; at++) {
                own[tile8][at] *= shrink[at / 2];
            }
#pragma unroll
            for (int step = 0; step < PAGE / 16; step++) {
                const unsigned* value = (const unsigned*)&values[tile8 * 8 + line][step * 16];
                mma(own[tile8], weights[step], value[column], value[column + 4]);
            }
        }

        if (!SPLIT && ((page + 1) % SPLIT_PAGES == 0 || page + 1 == end_page)) {
            float old_scale[2], own_scale[2];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                join(all_most[half], all_sum[half], most[half], sum[half], &all_most[half], &all_sum[half],
                     &old_scale[half], &own_scale[half]);
                most[half] = -INFINITY_F;
                sum[half] = 0.0f;
            }
#pragma unroll
            for (int tile8 = 0; tile8 < WIDTH / 8; tile8++) {
#pragma unroll
                for (int at = 0; at < 4; at++) {
                    int half = at / 2;
                    all[tile8][at] =
                        fmaf(all[tile8][at], old_scale[half], own[tile8][at] * own_scale[half]);
                    own[tile8][at] = 0.0f;
                }
            }
        }
    }

#pragma unroll
    for (int half = 0; half < 2; half++) {
        if (row_of[half] < 0) {
            continue;
        }
        if (SPLIT) {
            long long part = ((long long)blockIdx.z * rows + tile.part - tile.row) * heads + row_of[half];
            if (column == 0) {
                part_sums[part * 2] = most[half];
                part_sums[part * 2 + 1] = sum[half];
            }
#pragma unroll
            for (int tile8 = 0; tile8 < WIDTH / 8; tile8++) {
                parts[part * WIDTH + tile8 * 8 + column * 2] = own[tile8][half * 2];
                parts[part * WIDTH + tile8 * 8 + column * 2 + 1] = own[tile8][half * 2 + 1];
            }
        } else {
            unsigned* place = (unsigned*)(out + row_of[half] * WIDTH);
            float total = all_sum[half];
#pragma unroll
            for (int tile8 = 0; tile8 < WIDTH / 8; tile8++) {
                place[tile8 * 4 + column] =
                    narrow_two(all[tile8][half * 2] / total, all[tile8][half * 2 + 1] / total);
            }
        }
    }
}

// Puts together what `attention_split_*` left of one tile's rows: one block a tile and key head.
template <int WIDTH>
static __device__ __forceinline__ void join_parts(
    bf16* out, const float* parts, const float* part_sums, const Tile* tiles, int heads, int key_heads,
    long long rows) {
    const Tile tile = tiles[blockIdx.x];
    const int group = heads / key_heads;
    for (int at = threadIdx.x; at < tile.tokens * group * WIDTH; at += blockDim.x) {
        int token = at / (group * WIDTH);
        long long row = (long long)(tile.row + token) * heads + blockIdx.y * group + at / WIDTH % group;
        int pieces = (tile.place + token + SPLIT_PAGES * PAGE) / (SPLIT_PAGES * PAGE);
        float value = 0.0f, most = -INFINITY_F, sum = 0.0f;
        for (int piece = 0; piece < pieces; piece++) {
            long long part = ((long long)piece * rows + tile.part - tile.row) * heads + row;
            float old_scale, own_scale;
            join(most, sum, part_sums[part * 2], part_sums[part * 2 + 1], &most, &sum, &old_scale, &own_scale);
            value = fmaf(value, old_scale, parts[part * WIDTH + at % WIDTH] * own_scale);
        }
        out[row * WIDTH + at % WIDTH] = narrow(value / sum);
    }
}

#define ATTENTION(WIDTH)                                                                                     \
    extern "C" __global__ void __launch_bounds__(128) attention_##WIDTH(                                     \
        bf16* out, const bf16* queries, const bf16* pages, const int* tables, const Tile* tiles, int heads,  \
        int key_heads, int reach, float scale, long long page_stride, long long layer_start) {               \
        attend<WIDTH, false>(out, 0, 0, queries, pages, tables, tiles, heads, key_heads, reach, scale,       \
                             page_stride, layer_start, 0);                                                   \
    }                                                                                                        \
    extern "C" __global__ void __launch_bounds__(128) attention_split_##WIDTH(                               \
        float* parts, float* part_sums, const bf16* queries, const bf16* pages, const int* tables,           \
        const Tile* tiles, int heads, int key_heads, float scale, long long page_stride,                     \
        long long layer_start, long long rows) {                                                             \
        attend<WIDTH, true>(0, parts, part_sums, queries, pages, tables, tiles, heads, key_heads, -1, scale, \
                            page_stride, layer_start, rows);                                                 \
    }                                                                                                        \
    extern "C" __global__ void join_##WIDTH(                                                                 \
        bf16* out, const float* parts, const float* part_sums, const Tile* tiles, int heads, int key_heads,  \
        long long rows) {                                                                                    \
        join_parts<WIDTH>(out, parts, part_sums, tiles, heads, key_heads, rows);                             \
    }

ATTENTION(16)
ATTENTION(32)
ATTENTION(64)
ATTENTION(128)
