// What the kernels need of the machine itself. The tests put a file of the same functions in its place
// that a processor understands.

typedef unsigned short bf16;

// Four values of 8 products of 16 each: D = A B + D, A by rows, B by columns, in bf16, D in f32.
// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type".
static __device__ __forceinline__ void mma(float d[4], const unsigned a[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

static __device__ __forceinline__ float shuffle_xor(float value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}

static __device__ __forceinline__ unsigned bits_of(float value) {
    return __float_as_uint(value);
}

static __device__ __forceinline__ float of_bits(unsigned bits) {
    return __uint_as_float(bits);
}
