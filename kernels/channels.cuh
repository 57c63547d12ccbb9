// Channels-last memory by vectors: a thread owns the channels of one vector, in as many pixels as the kernel gives it.

constexpr int WIDTH = 16 / sizeof(REAL);
using Values = Vector<ACC, WIDTH>;  // of the channels of a thread

// The channels of this thread, in block number `block` along the channels: `channel` and those behind it, of which
// `left` exist. There may be none; loads are then undefined, and stores do nothing.
struct Own {
    int channel, left;

    __device__ __forceinline__ Own(int channels, int block)
        : channel((block * (int)blockDim.x + (int)threadIdx.x) * WIDTH), left(channels - channel) {}

    template <class T>
    __device__ __forceinline__ Vector<T, WIDTH> load_as_stored(const T* pixel) const {
        return load_vector<T, WIDTH>(pixel + channel, left);
    }

    template <class T>
    __device__ __forceinline__ Values load(const T* pixel) const {
        return converted<ACC>(load_as_stored(pixel));
    }

    template <class T, class From>
    __device__ __forceinline__ void store(T* pixel, const Vector<From, WIDTH>& values) const {
        store_vector(pixel + channel, converted<T>(values), left);
    }
};
