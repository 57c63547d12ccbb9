// Elementwise work on vectors. Each byte is read once and written once; a thread moves 16 bytes of the widest operand
// at a time, one by one only at the end and where memory lies misaligned, so that bits do not depend on that.

// formula(inputs), element by element.
template <class Out, int COUNT, class Formula, class... In>
__device__ __forceinline__ Vector<Out, COUNT> transformed(Formula formula, const Vector<In, COUNT>&... inputs) {
    Vector<Out, COUNT> result;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) result.at[i] = formula(inputs.at[i]...);
    return result;
}

// A vector in another type.
template <class To, class From, int COUNT>
__device__ __forceinline__ Vector<To, COUNT> converted(const Vector<From, COUNT>& vector) {
    return transformed<To, COUNT>([](From x) { return (To)x; }, vector);
}

// The largest of some sizes.
constexpr int largest(int size) { return size; }
template <class... Sizes>
constexpr int largest(int size, Sizes... sizes) {
    return size > largest(sizes...) ? size : largest(sizes...);
}

// One thread computes one vector: out = formula(inputs), of arrays that are dense in one common layout.
template <class Out, class Formula, class... In>
__device__ __forceinline__ void each(Out* out, long long count, Formula formula, const In*... inputs) {
    constexpr int WIDTH = 16 / largest(sizeof(Out), sizeof(In)...);
    long long first = global_thread() * WIDTH, left = count - first;
    store_vector(out + first, transformed<Out, WIDTH>(formula, load_vector<In, WIDTH>(inputs + first, left)...), left);
}
