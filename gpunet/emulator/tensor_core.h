// Tensor cores and asynchronous copies on the CPU. CUDA C++ reaches them by PTX, which the emulator cannot read, so a
// kernel calls these functions where GPUNET_EMULATOR is defined, and PTX elsewhere: kernels/mma.cuh is an example.
// How the elements of a fragment lie in the registers of the lanes is said in "Matrix fragments" of NVIDIA's PTX ISA:
// in words, lane l holds row l / 4 and the columns that start at l % 4, counted in registers.
#pragma once

namespace gpunet {

// Rounds to the 10 bits of mantissa of TF32, to nearest, ties away from zero (cvt.rna.tf32.f32).
static inline unsigned to_tf32(float x) {
    unsigned word = bits<unsigned>(x);
    return x != x ? 0x7fffffff : (word + 0x1000) & 0xffffe000;
}

// What a register of a fragment holds: its elements, widened.
struct Tf32 {
    static constexpr int per_register = 1;
    static float element(unsigned word, int) { return bits<float>(word & 0xffffe000); }  // the hardware sees no more
};
struct Float16 {
    static constexpr int per_register = 2;
    static float element(unsigned word, int i) { return (float)bits<_Float16>((unsigned short)(word >> 16 * i)); }
};
struct BFloat16 {
    static constexpr int per_register = 2;
    static float element(unsigned word, int i) { return bits<float>(i ? word & 0xffff0000 : word << 16); }
};

// c += a * b for a of 16 x DEPTH and b of DEPTH x 8 elements, DEPTH being 8 registers' worth (mma.sync.m16n8k8 for TF32,
// m16n8k16 for 16 bits).
template <class Element>
struct Multiply {
    static constexpr int PER = Element::per_register, DEPTH = 8 * PER;
    float* c;
    const unsigned *a, *b;

    static void run(unsigned mask, void** posts) {
        if (mask != 0xffffffffu) gpunet_trap("mma.sync without all 32 lanes");
        float a[16][DEPTH], b[DEPTH][8];
        for (int lane = 0; lane < 32; lane++) {
            const Multiply* post = (Multiply*)posts[lane];
            int row = lane / 4, first = lane % 4 * PER;
            for (int e = 0; e < PER; e++) {
                for (int i = 0; i < 4; i++)
                    a[row + i % 2 * 8][first + i / 2 * DEPTH / 2 + e] = Element::element(post->a[i], e);
                for (int i = 0; i < 2; i++) b[first + i * DEPTH / 2 + e][row] = Element::element(post->b[i], e);
            }
        }
        for (int lane = 0; lane < 32; lane++) {
            float* c = ((Multiply*)posts[lane])->c;
            for (int i = 0; i < 4; i++) {
                double sum = c[i];
                for (int k = 0; k < DEPTH; k++)
                    sum += (double)a[lane / 4 + i / 2 * 8][k] * b[k][lane % 4 * 2 + i % 2];
                c[i] = (float)sum;
            }
        }
    }
};
template <class Element>
static inline void multiply(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    Multiply<Element> post{c, a, b};
    gpunet_collective(0xffffffffu, Multiply<Element>::run, &post);
}

// Four matrices of 8 x 8 elements of 16 bits: lane 8 * m + i holds the address of row i of matrix m, and every lane gets
// two elements of each (ldmatrix.x4; transposed with .trans).
template <bool transposed>
struct LoadMatrices {
    unsigned row[4], result[4];

    static void run(unsigned mask, void** posts) {
        if (mask != 0xffffffffu) gpunet_trap("ldmatrix without all 32 lanes");
        for (int lane = 0; lane < 32; lane++)
            for (int matrix = 0; matrix < 4; matrix++) {
                auto element = [&](int row, int column) {
                    unsigned word = ((LoadMatrices*)posts[8 * matrix + row])->row[column / 2];
                    return column % 2 ? word >> 16 : word & 0xffff;
                };
                int a = lane / 4, b = lane % 4 * 2;
                unsigned low = transposed ? element(b, a) : element(a, b);
                unsigned high = transposed ? element(b + 1, a) : element(a, b + 1);
                ((LoadMatrices*)posts[lane])->result[matrix] = high << 16 | low;
            }
    }
};
template <bool transposed>
static __forceinline__ void load_matrices(unsigned (&result)[4], const void* row) {
    if ((uintptr_t)row % 16) gpunet_trap("ldmatrix from an address that is not aligned to 16 bytes");
    LoadMatrices<transposed> post;
    memcpy(post.row, row, 16);
    gpunet_collective(0xffffffffu, LoadMatrices<transposed>::run, &post);
    memcpy(result, post.result, 16);
}

// Copies `valid` of `size` bytes to shared memory and zeros for the rest, after this thread has waited (cp.async).
template <int size>
static __forceinline__ void copy_async(void* shared, const void* global, int valid) {
    static_assert(size == 4 || size == 8 || size == 16);
    if (((uintptr_t)shared | (valid ? (uintptr_t)global : 0)) % size)
        gpunet_trap("cp.async with an address that is not aligned to its size");
    if (!gpunet_is_shared(shared)) gpunet_trap("cp.async to what is not shared memory");
    char bytes[size] = {};
    if (valid) memcpy(bytes, global, valid);
    memset(shared, 0xff, size);
    gpunet_copy_async(shared, bytes, size);
}
static inline void commit_copies() { gpunet_copy_commit(); }
// Lands the copies of all groups but the `newest` ones.
static inline void wait_for_copies(int newest) { gpunet_copy_wait(newest); }

}  // namespace gpunet
