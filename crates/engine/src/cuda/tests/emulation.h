// The kernels' sources as C++: every thread of a block is a fiber, blocks run one after the other. What
// threads exchange goes through slots that all of a warp fill before any reads them.

#include <cmath>
#include <cstring>
#include <tuple>
#include <ucontext.h>
#include <utility>
#include <vector>

typedef unsigned short bf16;

#define __device__
#define __global__
#define __forceinline__ inline
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(n)

struct uint4 {
    unsigned x, y, z, w;
};
struct Index {
    int x, y, z;
};
static Index threadIdx, blockIdx, blockDim;

// A place where all of a group wait for each other.
struct Barrier {
    int members, arrived, round;
};
struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    bool live;
};
static std::vector<Fiber> fibers;
static std::vector<Barrier> warps;
static Barrier block;
static ucontext_t scheduler;
static int current;

static void wait_at(Barrier& barrier) {
    int round = barrier.round;
    if (++barrier.arrived >= barrier.members) {
        barrier.arrived = 0;
        barrier.round++;
    }
    while (barrier.round == round) {
        swapcontext(&fibers[current].context, &scheduler);
    }
}
// Who has returned is not waited for.
static void leave(Barrier& barrier) {
    barrier.members--;
    if (barrier.members > 0 && barrier.arrived >= barrier.members) {
        barrier.arrived = 0;
        barrier.round++;
    }
}
static void __syncthreads() {
    wait_at(block);
}

struct Slot {
    float value;
    unsigned a[4], b[2];
};
static Slot slots[1024];

static float shuffle_xor(float value, int mask) {
    int own = current;
    slots[own].value = value;
    wait_at(warps[own / 32]);
    float other = slots[own ^ mask].value;
    wait_at(warps[own / 32]);
    return other;
}
static unsigned bits_of(float value) {
    unsigned bits;
    memcpy(&bits, &value, 4);
    return bits;
}
static float of_bits(unsigned bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
static float half_of(unsigned pair, int high) {
    return of_bits(high ? pair & 0xffff0000u : pair << 16);
}
// By the tables of fragments in the PTX ISA: lane `4 * (row % 8) + column / 2 % 4` holds A's (row, column)
// in register `row / 8 + 2 * (column / 8)`, lane `4 * column + row / 2 % 4` B's (row, column) in register
// `row / 8`, lane `4 * (row % 8) + column / 2` D's (row, column) in register `2 * (row / 8) + column % 2`.
static void mma(float d[4], const unsigned a[4], unsigned b0, unsigned b1) {
    int own = current, warp = own / 32 * 32, lane = own % 32;
    memcpy(slots[own].a, a, sizeof slots[own].a);
    slots[own].b[0] = b0;
    slots[own].b[1] = b1;
    wait_at(warps[own / 32]);
    for (int at = 0; at < 4; at++) {
        int row = lane / 4 + 8 * (at / 2), column = lane % 4 * 2 + at % 2;
        for (int k = 0; k < 16; k++) {
            unsigned left = slots[warp + 4 * (row % 8) + k / 2 % 4].a[row / 8 + 2 * (k / 8)];
            unsigned right = slots[warp + 4 * column + k / 2 % 4].b[k / 8];
            d[at] += half_of(left, k % 2) * half_of(right, k % 2);
        }
    }
    wait_at(warps[own / 32]);
}

static void (*entry)(void*);
static void* entry_data;
static void fiber_main() {
    entry(entry_data);
    fibers[current].live = false;
    leave(warps[current / 32]);
    leave(block);
    swapcontext(&fibers[current].context, &scheduler);
}

static void run_block(int threads) {
    fibers.resize(threads > (int)fibers.size() ? threads : fibers.size());
    warps.assign((threads + 31) / 32, Barrier{0, 0, 0});
    block = Barrier{threads, 0, 0};
    for (int at = 0; at < threads; at++) {
        Fiber& fiber = fibers[at];
        warps[at / 32].members++;
        fiber.stack.resize(256 << 10);
        fiber.live = true;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, fiber_main, 0);
    }
    bool any = true;
    while (any) {
        any = false;
        for (int at = 0; at < threads; at++) {
            if (fibers[at].live) {
                any = true;
                current = at;
                threadIdx = Index{at, 0, 0};
                swapcontext(&scheduler, &fibers[at].context);
            }
        }
    }
}

template <class... A>
struct Call {
    void (*kernel)(A...);
    void** arguments;
    template <size_t... I>
    void with(std::index_sequence<I...>) {
        kernel(*(A*)arguments[I]...);
    }
    static void run(void* self) {
        ((Call*)self)->with(std::index_sequence_for<A...>());
    }
};
template <class... A>
static void launch(void (*kernel)(A...), int x, int y, int z, int threads, void** arguments) {
    Call<A...> call{kernel, arguments};
    entry = Call<A...>::run;
    entry_data = &call;
    blockDim = Index{threads, 1, 1};
    for (int at = 0; at < x * y * z; at++) {
        blockIdx = Index{at % x, at / x % y, at / (x * y)};
        run_block(threads);
    }
}
#define EXPORT(name)                                                                      \
    extern "C" void run_##name(int x, int y, int z, int threads, void** arguments) { \
        launch(name, x, y, z, threads, arguments);                                       \
    }
