// CUDA kernel for multi-scale deformable attention. Compiled by nvcc in every build; it has never run on a GPU yet.
//
// Work distribution. A "pair" is one (image, query, head). A block owns kPairs = 128 / lanes consecutive pairs, and
// `lanes` threads own one pair, each kVector channels wide (16 bytes: float4, or eight halves).
//   1. Stage: all 128 threads walk the block's locations and weights, which are contiguous in memory, so these reads
//      are fully coalesced. The coordinate arithmetic is done once per sampling point, not once per channel, and its
//      result (row and four weights, 20 bytes) goes to shared memory. With kSoftmax the logits are staged first and the
//      pair's lanes reduce them with warp shuffles.
//   2. Gather: the lanes of a pair read the D channels of a neighbour side by side: 128 bytes for D = 32 in FP32, one
//      full cache line, 64 bytes (two sectors) in FP16. Neighbours of zero weight are not read.
//   3. Store: the block's pairs are consecutive in the output too, so the stores are coalesced.
// Shared rows have an odd pitch in 16-byte units so that the pairs of a warp hit different banks.
//
// Roofline estimate, not a measurement. One encoder layer at 640 x 640 with strides 8, 16, 32, 64: S = Lq = 8,500,
// M = 8, D = 32, L = P = 4, hence 68,000 pairs, 1,088,000 samples, 4,352,000 neighbours.
//   compulsory DRAM traffic: value 8.7 MB + output 8.7 MB + locations 8.7 MB + weights 4.4 MB = 30.5 MB in FP32;
//       4.4 + 4.4 + 8.7 + 2.2 = 19.7 MB in FP16 (locations stay FP32)
//   gathers, served by L1/L2 when the level fits: 4,352,000 x 128 B = 557 MB in FP32, 279 MB in FP16
//   arithmetic: 4,352,000 x 32 multiply-adds = 0.28 GFLOP, plus about 20 operations a sample = 0.02 GFLOP
//   intensity: 0.30 GFLOP / 30.5 MB = 10 FLOP/B in FP32 against DRAM; bound by gather traffic, not by arithmetic
//
//   device (nominal)      DRAM GB/s  FP32 TFLOP/s  DRAM bound FP32 / FP16   arithmetic bound
//   T4 (SM 75)                  320           8.1        95 / 62 us                 37 us
//   RTX 4050 laptop (SM 89)     192           9.0       159 / 103 us                33 us
//   Orin AGX 64 GB (SM 87)      205           5.3       149 / 96 us                 57 us
// The L2 gathers decide what is reached: with an assumed 1 TB/s out of L2 and no L1 hits, 557 us in FP32 and 279 us in
// FP16; neighbouring queries sample neighbouring pixels, so part of it hits L1. A decoder layer (Lq = 20) is launch
// bound: 160 pairs.
// Shared memory of a block at D = 32 and L = P = 4, with the pitch of 17 and the levels: 5.5 KB in FP32, 10.9 KB in FP16.
// In FP16 it allows five blocks of 128 threads on SM 75 (64 KB; eight would be full) and eight on SM 86 and 89 (100 KB;
// twelve would be full). In FP32 the registers (54, docs/plugin.md) are the limit: full on SM 75, nine blocks elsewhere.
#include "ms_deform_attn_cuda.h"

#include <cuda_runtime.h>

namespace
{

using humar::Footprint;
using humar::Half;
using humar::Level;

constexpr int kThreads = 128;
constexpr int kMaxLanes = 32;
constexpr std::size_t kVectorBytes = 16;
constexpr int kMinBlocks = 8;  // caps registers at 64 a thread: no spills, and full occupancy on SM 75
constexpr std::size_t kMaxSharedBytes = 48 * 1024;  // what every architecture grants without opting in

// Shared memory, carved from one dynamic array in this order (16-byte items first, so that all stay aligned).
struct Layout
{
    std::int32_t pairs;  // pairs of a block
    std::int32_t pitch;  // entries from one pair to the next, odd and at least L * P

    __host__ __device__ Layout(std::int32_t lanes, std::int32_t samples)
        : pairs(kThreads / lanes)
        , pitch(samples | 1)
    {
    }

    __host__ __device__ std::size_t entries() const
    {
        return static_cast<std::size_t>(pairs) * static_cast<std::size_t>(pitch);
    }

    __host__ std::size_t bytes(std::int32_t levels) const
    {
        return entries() * (sizeof(float4) + sizeof(std::int32_t)) + static_cast<std::size_t>(levels) * sizeof(Level);
    }
};

struct Tensors
{
    void const* value;
    std::int32_t const* spatial_shapes;
    std::int32_t const* level_start;
    float const* locations;
    void const* weights;
    void* output;
};

// Largest logit of the pair and the reciprocal of the sum of exponentials, in every lane of the pair. The lanes of a
// pair are a power of two and adjacent in one warp; all 32 threads of the warp must arrive here together.
__device__ inline float2 softmax_terms(float const* logits, std::int32_t samples, int lane, int lanes)
{
    float largest = -INFINITY;
    for (int i = lane; i < samples; i += lanes)
    {
        largest = fmaxf(largest, logits[i]);
    }
    for (int offset = lanes / 2; offset > 0; offset /= 2)
    {
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, offset));
    }
    float total = 0.0F;
    for (int i = lane; i < samples; i += lanes)
    {
        total += expf(logits[i] - largest);
    }
    for (int offset = lanes / 2; offset > 0; offset /= 2)
    {
        total += __shfl_xor_sync(0xffffffffU, total, offset);
    }
    return make_float2(largest, 1.0F / total);
}

template <typename T, typename W, int kVector, bool kSoftmax>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    ms_deform_attn_kernel(HumarMsdaSize const size, Tensors const tensors)
{
    extern __shared__ float4 shared[];
    int const lanes = static_cast<int>(blockDim.x);
    int const lane = static_cast<int>(threadIdx.x);
    int const slot = static_cast<int>(threadIdx.y);
    int const thread = slot * lanes + lane;
    std::int32_t const samples = size.levels * size.points;
    Layout const layout(lanes, samples);
    float4* const taps = shared;
    std::int32_t* const rows = reinterpret_cast<std::int32_t*>(taps + layout.entries());
    Level* const levels = reinterpret_cast<Level*>(rows + layout.entries());

    for (int i = thread; i < size.levels; i += kThreads)
    {
        Level level = {tensors.spatial_shapes[2 * i], tensors.spatial_shapes[2 * i + 1], tensors.level_start[i]};
        if (!humar::level_fits(level, size.rows))
        {
            level = {0, 0, 0};  // every neighbour is outside an empty level
        }
        levels[i] = level;
    }

    // 64 bits: pairs * samples may exceed 2^31 although each of them does not.
    std::int64_t const all_pairs = static_cast<std::int64_t>(size.batch) * size.queries * size.heads;
    std::int64_t const first_pair = static_cast<std::int64_t>(blockIdx.x) * layout.pairs;
    int const pairs_here = static_cast<int>(
        all_pairs - first_pair < layout.pairs ? all_pairs - first_pair : static_cast<std::int64_t>(layout.pairs));
    std::int32_t const samples_here = pairs_here * samples;
    W const* const weights = static_cast<W const*>(tensors.weights) + first_pair * samples;
    float2 const* const locations = reinterpret_cast<float2 const*>(tensors.locations) + first_pair * samples;

    if (kSoftmax)
    {
        // `rows` holds the logits until the footprints replace them. The tail's unused slots are cleared, because
        // their lanes take part in the shuffles.
        float* const logits = reinterpret_cast<float*>(rows);
        for (std::int32_t i = thread; i < layout.pairs * samples; i += kThreads)
        {
            logits[i / samples * layout.pitch + i % samples]
                = i < samples_here ? humar::to_float(weights[i]) : 0.0F;
        }
        __syncthreads();
        float* const own = logits + slot * layout.pitch;
        float2 const terms = softmax_terms(own, samples, lane, lanes);
        for (int i = lane; i < samples; i += lanes)
        {
            own[i] = expf(own[i] - terms.x) * terms.y;
        }
    }
    __syncthreads();

    for (std::int32_t i = thread; i < samples_here; i += kThreads)
    {
        std::int32_t const sample = i % samples;
        std::int32_t const entry = i / samples * layout.pitch + sample;
        float const attention = kSoftmax ? reinterpret_cast<float const*>(rows)[entry] : humar::to_float(weights[i]);
        float2 const location = locations[i];
        Footprint const footprint
            = humar::make_footprint(location.x, location.y, levels[sample / size.points], attention);
        taps[entry] = make_float4(
            footprint.weight[0], footprint.weight[1], footprint.weight[2], footprint.weight[3]);
        rows[entry] = footprint.row;
    }
    __syncthreads();

    if (slot >= pairs_here)
    {
        return;
    }
    std::int64_t const pair = first_pair + slot;
    std::int64_t const head = pair % size.heads;
    std::int64_t const image = pair / size.heads / size.queries;
    std::int32_t const stride = size.heads * size.channels;
    T const* const value = static_cast<T const*>(tensors.value) + image * size.rows * stride + head * size.channels;
    T* const output = static_cast<T*>(tensors.output) + pair * size.channels;
    for (std::int32_t channel = lane * kVector; channel < size.channels; channel += lanes * kVector)
    {
        float sum[kVector] = {};
        std::int32_t entry = slot * layout.pitch;
        for (std::int32_t l = 0; l < size.levels; ++l)
        {
            std::int32_t const width = levels[l].width;
            for (std::int32_t p = 0; p < size.points; ++p, ++entry)
            {
                float4 const tap = taps[entry];
                Footprint const footprint = {rows[entry], {tap.x, tap.y, tap.z, tap.w}};
                humar::accumulate<kVector>(sum, value + channel, stride, width, footprint);
            }
        }
        humar::Pack<T, kVector> pack;
#pragma unroll
        for (int i = 0; i < kVector; ++i)
        {
            humar::from_float(sum[i], pack.item[i]);
        }
        *reinterpret_cast<humar::Pack<T, kVector>*>(output + channel) = pack;
    }
}

template <typename T, typename W, int kVector>
HumarMsdaStatus launch(HumarMsdaSize const& size, Tensors const& tensors, bool softmax, cudaStream_t stream)
{
    std::int32_t const chunks = (size.channels + kVector - 1) / kVector;
    std::int32_t lanes = 1;
    while (lanes < chunks && lanes < kMaxLanes)
    {
        lanes *= 2;
    }
    // Many points: fewer pairs in a block, until the footprints fit into shared memory.
    while (lanes < kMaxLanes && Layout(lanes, size.levels * size.points).bytes(size.levels) > kMaxSharedBytes)
    {
        lanes *= 2;
    }
    Layout const layout(lanes, size.levels * size.points);
    std::size_t const shared_bytes = layout.bytes(size.levels);
    if (shared_bytes > kMaxSharedBytes)
    {
        return HUMAR_MSDA_TOO_LARGE;
    }
    std::int64_t const pairs = static_cast<std::int64_t>(size.batch) * size.queries * size.heads;
    dim3 const grid(static_cast<unsigned int>((pairs + layout.pairs - 1) / layout.pairs));
    dim3 const block(static_cast<unsigned int>(lanes), static_cast<unsigned int>(layout.pairs));
    HumarMsdaSize size_argument = size;
    Tensors tensors_argument = tensors;
    void* arguments[] = {&size_argument, &tensors_argument};
    auto const kernel
        = softmax ? &ms_deform_attn_kernel<T, W, kVector, true> : &ms_deform_attn_kernel<T, W, kVector, false>;
    // Its return value is about this launch alone; cudaGetLastError would also report, and clear, earlier errors.
    cudaError_t const error = cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, stream);
    return error == cudaSuccess ? HUMAR_MSDA_OK : HUMAR_MSDA_LAUNCH_FAILED;
}

bool is_aligned(void const* pointer, std::size_t alignment)
{
    return reinterpret_cast<std::uintptr_t>(pointer) % alignment == 0;
}

// 16-byte channel reads when the channel count and the pointers allow them, scalar reads otherwise.
template <typename T, typename W>
HumarMsdaStatus dispatch(HumarMsdaSize const& size, Tensors const& tensors, bool softmax, cudaStream_t stream)
{
    constexpr int kVector = static_cast<int>(kVectorBytes / sizeof(T));
    bool const wide = size.channels % kVector == 0 && is_aligned(tensors.value, kVectorBytes)
        && is_aligned(tensors.output, kVectorBytes);
    return wide ? launch<T, W, kVector>(size, tensors, softmax, stream)
                : launch<T, W, 1>(size, tensors, softmax, stream);
}

}  // namespace

extern "C" std::int32_t humar_msda_cuda(HumarMsdaSize const* size, std::int32_t value_type, void const* value,
    std::int32_t const* spatial_shapes, std::int32_t const* level_start, float const* locations,
    std::int32_t weight_type, void const* weights, std::int32_t fused_softmax, void* output, void* stream)
{
    if (size == nullptr || value == nullptr || spatial_shapes == nullptr || level_start == nullptr
        || locations == nullptr || weights == nullptr || output == nullptr)
    {
        return HUMAR_MSDA_NULL_POINTER;
    }
    HumarMsdaStatus status = humar::check_size(*size);
    status = status == HUMAR_MSDA_OK ? humar::check_types(value_type, weight_type) : status;
    status = status == HUMAR_MSDA_OK && !is_aligned(locations, sizeof(float2)) ? HUMAR_MSDA_MISALIGNED : status;
    if (status != HUMAR_MSDA_OK)
    {
        return status;
    }
    Tensors const tensors = {value, spatial_shapes, level_start, locations, weights, output};
    bool const softmax = fused_softmax != 0;
    cudaStream_t const cuda_stream = static_cast<cudaStream_t>(stream);
    if (value_type == HUMAR_MSDA_FLOAT)
    {
        return dispatch<float, float>(*size, tensors, softmax, cuda_stream);
    }
    return weight_type == HUMAR_MSDA_FLOAT ? dispatch<Half, float>(*size, tensors, softmax, cuda_stream)
                                           : dispatch<Half, Half>(*size, tensors, softmax, cuda_stream);
}
