// Functions of rows. Every row is computed by one block of a fixed size in one order, so that it does not
// depend on what other rows there are.

#define INFINITY_F of_bits(0x7f800000u)
#define WARP 32

static __device__ __forceinline__ float widen(bf16 value) {
    return of_bits((unsigned)value << 16);
}

// To the nearest, ties to even; what is not a number stays none.
static __device__ __forceinline__ bf16 narrow(float value) {
    unsigned bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (bf16)0x7fc0u;
    }
    return (bf16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static __device__ __forceinline__ unsigned narrow_two(float low, float high) {
    return (unsigned)narrow(low) | ((unsigned)narrow(high) << 16);
}

static __device__ __forceinline__ float warp_sum(float value) {
    for (int mask = WARP / 2; mask > 0; mask /= 2) {
        value += shuffle_xor(value, mask);
    }
    return value;
}

// The sum over a block of up to 1024 threads, to all of them.
static __device__ __forceinline__ float block_sum(float value, float* shared) {
    value = warp_sum(value);
    __syncthreads();
    if (threadIdx.x % WARP == 0) {
        shared[threadIdx.x / WARP] = value;
    }
    __syncthreads();
    float total = 0.0f;
    for (int warp = 0; warp < (int)blockDim.x / WARP; warp++) {
        total += shared[warp];
    }
    return total;
}

// hidden[row] = table[ids[row]]. One block a row.
extern "C" __global__ void embed(float* hidden, const bf16* table, const int* ids, int dim) {
    const bf16* own = table + (long long)ids[blockIdx.x] * dim;
    float* out = hidden + (long long)blockIdx.x * dim;
    for (int at = threadIdx.x; at < dim; at += blockDim.x) {
        out[at] = widen(own[at]);
    }
}

// out[row] = hidden[rows[row]] / rms * weight; all rows in turn where `rows` is null. One block a row.
extern "C" __global__ void rms_norm(
    bf16* out, const float* hidden, const int* rows, const float* weight, int dim, float epsilon) {
    __shared__ float sums[WARP];
    int from = rows ? rows[blockIdx.x] : (int)blockIdx.x;
    const float* own = hidden + (long long)from * dim;
    float square = 0.0f;
    for (int at = threadIdx.x; at < dim; at += blockDim.x) {
        square = fmaf(own[at], own[at], square);
    }
    float scale = 1.0f / sqrtf(block_sum(square, sums) / dim + epsilon);
    for (int at = threadIdx.x; at < dim; at += blockDim.x) {
        out[(long long)blockIdx.x * dim + at] = narrow(own[at] * scale * weight[at]);
    }
}

// hidden[row] += bias, and where there are weights normalised: to `out` in bf16, and where `keep` is not 0
// in place as well. One block a row.
extern "C" __global__ void layer_norm(
    bf16* out, float* hidden, const float* added, const float* weight, const float* bias, int dim,
    float epsilon, int keep) {
    __shared__ float sums[WARP];
    float* own = hidden + (long long)blockIdx.x * dim;
    float sum = 0.0f;
    for (int at = threadIdx.x; at < dim; at += blockDim.x) {
        if (added) {
            own[at] += added[at];
        }
        sum += own[at];
    }
    float mean = block_sum(sum, sums) / dim;
    float square = 0.0f;
    for (int at = threadIdx.x; at < dim; at += blockDim.x) {
        float away = own[at] - mean;
        square = fmaf(away, away, square);
    }
    float scale = 1.0f / sqrtf(block_sum(square, sums) / dim + epsilon);
    for (int at = threadIdx.x; at < dim; at += blockDim.x) {
        float value = weight ? (own[at] - mean) * scale * weight[at] + bias[at] : own[at];
        out[(long long)blockIdx.x * dim + at] = narrow(value);
        if (keep) {
            own[at] = value;
        }
    }
}

// hidden[row] += bias. One block a row.
extern "C" __global__ void add_bias(float* hidden, const float* bias, int dim) {
    float* own = hidden + (long long)blockIdx.x * dim;
    for (int at = threadIdx.x; at < dim; at += blockDim.x) {
        own[at] += bias[at];
    }
}

static __device__ __forceinline__ float gelu(float x) {
    return 0.5f * x * (1.0f + erff(x * 0.70710678f));
}

// Of a row of 2 * width values, silu(first half) * second half. One block a row.
extern "C" __global__ void silu_product(bf16* out, const bf16* wide, int width) {
    const bf16* own = wide + (long long)blockIdx.x * 2 * width;
    for (int at = threadIdx.x; at < width; at += blockDim.x) {
        float gate = widen(own[at]);
        out[(long long)blockIdx.x * width + at] = narrow(gate / (1.0f + expf(-gate)) * widen(own[width + at]));
    }
}

// gelu(row + bias). One block a row.
extern "C" __global__ void gelu_bias(bf16* out, const bf16* wide, const float* bias, int width) {
    long long start = (long long)blockIdx.x * width;
    for (int at = threadIdx.x; at < width; at += blockDim.x) {
        out[start + at] = narrow(gelu(widen(wide[start + at]) + bias[at]));
    }
}

// Of a row of 2 * width values with its bias, gelu(first half) * second half. One block a row.
extern "C" __global__ void gelu_product(bf16* out, const bf16* wide, const float* bias, int width) {
    const bf16* own = wide + (long long)blockIdx.x * 2 * width;
    for (int at = threadIdx.x; at < width; at += blockDim.x) {
        float value = gelu(widen(own[at]) + bias[at]) * (widen(own[width + at]) + bias[width + at]);
        out[(long long)blockIdx.x * width + at] = narrow(value);
    }
}
