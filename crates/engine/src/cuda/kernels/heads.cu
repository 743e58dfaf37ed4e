// From the products with the query, key and value weights to queries in a matrix and keys and values in
// pages of 32 tokens.
//
// A page holds one layer after the other, of a layer one key head after the other, of a key head first
// keys by token, then values by column: what the attention kernel's products read side by side.

#define PAGE 32

// One warp a head of a row, heads of queries first, then of keys, then of values; `blockDim.x / 32` warps
// a block, as many blocks side by side as all heads need, one row of blocks a row.
//
// `places` is the place of each row in its sequence, `slots` where in the pages its key goes: the page's
// number times 32, and its place in it. `page_stride` is the values of a page, `layer_start` those before
// this layer in it. `turns` has cosine and sine of `width / 2` angles by place; null: nothing is turned.
// Where `neighbours` is not 0 two neighbours are a pair, else one value of each half.
extern "C" __global__ void finish_heads(
    bf16* queries, bf16* pages, const float* qkv, const float* bias, const float* query_norm,
    const float* key_norm, const float* turns, const int* places, const int* slots, int heads, int key_heads,
    int width, int neighbours, float epsilon, long long page_stride, long long layer_start) {
    int lane = threadIdx.x % WARP;
    int head = blockIdx.y * (blockDim.x / WARP) + threadIdx.x / WARP;
    int all = heads + 2 * key_heads;
    if (head >= all) {
        return;
    }
    long long row = blockIdx.x;
    const float* own = qkv + (row * all + head) * width;
    const float* own_bias = bias ? bias + (long long)head * width : 0;
    const float* norm = head < heads ? query_norm : head < heads + key_heads ? key_norm : 0;
    bool turned = turns && head < heads + key_heads;
    int half = width / 2;
    float scale = 1.0f;
    if (norm) {
        float square = 0.0f;
        for (int at = lane; at < width; at += WARP) {
            float value = own[at] + (own_bias ? own_bias[at] : 0.0f);
            square = fmaf(value, value, square);
        }
        scale = 1.0f / sqrtf(warp_sum(square) / width + epsilon);
    }
    int slot = slots[row];
    int page_row = slot % PAGE;
    long long key_head = head < heads + key_heads ? head - heads : head - heads - key_heads;
    bf16* page = pages + (slot / PAGE) * page_stride + layer_start + key_head * 2 * PAGE * width;
    for (int pair = lane; pair < half; pair += WARP) {
        int first = neighbours ? 2 * pair : pair;
        int second = neighbours ? 2 * pair + 1 : pair + half;
        float a = own[first] + (own_bias ? own_bias[first] : 0.0f);
        float b = own[second] + (own_bias ? own_bias[second] : 0.0f);
        if (norm) {
            a = a * scale * norm[first];
            b = b * scale * norm[second];
        }
        if (turned) {
            const float* turn = turns + ((long long)places[row] * half + pair) * 2;
            float x = a * turn[0] - b * turn[1];
            b = a * turn[1] + b * turn[0];
            a = x;
        }
        if (head < heads) {
            bf16* out = queries + (row * heads + head) * width;
            out[first] = narrow(a);
            out[second] = narrow(b);
        } else if (head < heads + key_heads) {
            page[page_row * width + first] = narrow(a);
            page[page_row * width + second] = narrow(b);
        } else {
            page[PAGE * width + first * PAGE + page_row] = narrow(a);
            page[PAGE * width + second * PAGE + page_row] = narrow(b);
        }
    }
}
