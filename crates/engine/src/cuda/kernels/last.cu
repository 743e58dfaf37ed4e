// What is asked of the last token of a prompt: the token that most likely follows, and what it attends to.

// Rows of a prompt whose attention is told.
struct Watched {
    // Row of the query.
    int row;
    // Keys that it sees.
    int keys;
    // Where its pages begin in the table.
    int table;
    // Where its ranges begin among those of all, and how many it has.
    int range;
    int ranges;
    // Where its scores begin among those of all, for one head.
    int score;
};

// The place of the greatest value of a row that is a number, the first of equals; -1 where none is. One block
// of a power of two of threads, 1024 at most, a row.
extern "C" __global__ void greatest(int* out, const float* rows, int width) {
    __shared__ float values[1024];
    __shared__ int places[1024];
    const float* own = rows + (long long)blockIdx.x * width;
    float value = 0.0f;
    int place = -1;
    for (int at = threadIdx.x; at < width; at += blockDim.x) {
        float next = own[at];
        if (next == next && (place < 0 || next > value)) {
            value = next;
            place = at;
        }
    }
    values[threadIdx.x] = value;
    places[threadIdx.x] = place;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < half) {
            int other = places[threadIdx.x + half];
            float beside = values[threadIdx.x + half];
            int mine = places[threadIdx.x];
            float best = values[threadIdx.x];
            if (other >= 0 && (mine < 0 || beside > best || (beside == best && other < mine))) {
                values[threadIdx.x] = beside;
                places[threadIdx.x] = other;
            }
        }
    }
    if (threadIdx.x == 0) {
        out[blockIdx.x] = places[0];
    }
}

// The attention probabilities of one query a block, summed over ranges of keys: of `ranges`, first and
// behind the last. `scores` has room for `all_keys` of each head. `out` has `all_ranges` sums a head.
extern "C" __global__ void attention_mass(
    float* out, float* scores, const bf16* queries, const bf16* pages, const int* tables,
    const Watched* watched, const int* ranges, int heads, int key_heads, int width, float scale,
    long long page_stride, long long layer_start, int all_keys, int all_ranges) {
    __shared__ float shared[WARP];
    const Watched own = watched[blockIdx.x];
    int head = blockIdx.y;
    const bf16* query = queries + ((long long)own.row * heads + head) * width;
    float* score = scores + (long long)head * all_keys + own.score;
    float most = -INFINITY_F;
    for (int key = threadIdx.x; key < own.keys; key += blockDim.x) {
        const bf16* page = pages + (long long)tables[own.table + key / PAGE] * page_stride + layer_start
            + (long long)(head / (heads / key_heads)) * 2 * PAGE * width + (long long)(key % PAGE) * width;
        float sum = 0.0f;
        for (int at = 0; at < width; at++) {
            sum = fmaf(widen(query[at]), widen(page[at]), sum);
        }
        sum *= scale;
        score[key] = sum;
        most = sum > most ? sum : most;
    }
    for (int mask = WARP / 2; mask > 0; mask /= 2) {
        float other = shuffle_xor(most, mask);
        most = other > most ? other : most;
    }
    if (threadIdx.x % WARP == 0) {
        shared[threadIdx.x / WARP] = most;
    }
    __syncthreads();
    for (int warp = 0; warp < (int)blockDim.x / WARP; warp++) {
        most = shared[warp] > most ? shared[warp] : most;
    }
    __syncthreads();
    float total = 0.0f;
    for (int key = threadIdx.x; key < own.keys; key += blockDim.x) {
        float weight = exp2f(score[key] - most);
        score[key] = weight;
        total += weight;
    }
    total = block_sum(total, shared);
    __syncthreads();
    for (int at = threadIdx.x; at < own.ranges; at += blockDim.x) {
        const int* range = ranges + 2 * (own.range + at);
        float sum = 0.0f;
        for (int key = range[0]; key < range[1] && key < own.keys; key++) {
            sum += score[key];
        }
        out[(long long)head * all_ranges + own.range + at] = sum / total;
    }
}
