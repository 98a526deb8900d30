// The CUDA kernel on a GPU, compared with the host library, and its time at the size of the roofline estimate.
// Returns 77 (skipped) where there is no GPU.
#include "kernel_cases.h"
#include "ms_deform_attn_cuda.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>

namespace
{

constexpr int kSkipped = 77;
constexpr int kRepetitions = 200;

// Device memory holding a copy of a host array.
class Buffer
{
public:
    Buffer(void const* host, std::size_t bytes)
    {
        CHECK(cudaMalloc(&data_, bytes) == cudaSuccess);
        CHECK(cudaMemcpy(data_, host, bytes, cudaMemcpyHostToDevice) == cudaSuccess);
    }
    Buffer(Buffer const&) = delete;
    Buffer& operator=(Buffer const&) = delete;
    ~Buffer()
    {
        cudaFree(data_);
    }
    void* data() const
    {
        return data_;
    }

private:
    void* data_ = nullptr;
};

// Where a call's arrays lie, in elements.
struct Counts
{
    std::size_t value, samples, output;

    explicit Counts(HumarMsdaSize const& size)
    {
        std::size_t const pairs = static_cast<std::size_t>(size.batch) * size.queries * size.heads;
        value = static_cast<std::size_t>(size.batch) * size.rows * size.heads * size.channels;
        samples = pairs * size.levels * size.points;
        output = pairs * size.channels;
    }
};

std::size_t width_of(std::int32_t type)
{
    return type == HUMAR_MSDA_HALF ? sizeof(humar::Half) : sizeof(float);
}

std::int32_t launch(HumarMsdaSize const* size, std::int32_t value_type, void const* value,
    std::int32_t const* spatial_shapes, std::int32_t const* level_start, float const* locations,
    std::int32_t weight_type, void const* weights, std::int32_t fused_softmax, void* output)
{
    Counts const counts(*size);
    std::size_t const levels = static_cast<std::size_t>(size->levels);
    Buffer const device_value(value, counts.value * width_of(value_type));
    Buffer const device_shapes(spatial_shapes, levels * 2 * sizeof(std::int32_t));
    Buffer const device_starts(level_start, levels * sizeof(std::int32_t));
    Buffer const device_locations(locations, counts.samples * 2 * sizeof(float));
    Buffer const device_weights(weights, counts.samples * width_of(weight_type));
    Buffer const device_output(output, counts.output * width_of(value_type));
    std::int32_t const status = humar_msda_cuda(size, value_type, device_value.data(),
        static_cast<std::int32_t const*>(device_shapes.data()), static_cast<std::int32_t const*>(device_starts.data()),
        static_cast<float const*>(device_locations.data()), weight_type, device_weights.data(), fused_softmax,
        device_output.data(), nullptr);
    CHECK(cudaDeviceSynchronize() == cudaSuccess);
    CHECK(cudaMemcpy(output, device_output.data(), counts.output * width_of(value_type), cudaMemcpyDeviceToHost)
        == cudaSuccess);
    return status;
}

// Median time of the encoder layer of the comment in ms_deform_attn.cu, every query sampling around its own pixel.
void time_encoder_layer(std::int32_t type, char const* name)
{
    HumarMsdaSize const size = {1, 8500, 8, 32, 4, 8500, 4};
    std::vector<std::int32_t> const shapes = {80, 80, 40, 40, 20, 20, 10, 10};
    std::vector<std::int32_t> const starts = kernel_cases::starts_of(shapes);
    Counts const counts(size);
    std::mt19937 generator(1);
    std::normal_distribution<float> offset(0.0F, 0.02F);
    std::vector<float> locations(counts.samples * 2);
    std::size_t const per_query = locations.size() / static_cast<std::size_t>(size.queries);
    for (std::size_t i = 0; i < locations.size(); ++i)
    {
        std::size_t const query = i / per_query;
        std::size_t const axis = i % 2 == 0 ? query % 80 : query / 80 % 80;
        locations[i] = (static_cast<float>(axis) + 0.5F) / 80 + offset(generator);
    }
    std::vector<std::uint8_t> const zeros(std::max(counts.value, counts.samples) * sizeof(float));
    Buffer const value(zeros.data(), counts.value * width_of(type));
    Buffer const device_shapes(shapes.data(), shapes.size() * sizeof(std::int32_t));
    Buffer const device_starts(starts.data(), starts.size() * sizeof(std::int32_t));
    Buffer const device_locations(locations.data(), locations.size() * sizeof(float));
    // All bits of 0x30 make small positive numbers in both types, so that no neighbour is skipped.
    std::vector<std::uint8_t> const small(counts.samples * sizeof(float), 0x30);
    Buffer const weights(small.data(), counts.samples * width_of(type));
    Buffer const output(zeros.data(), counts.output * width_of(type));
    cudaEvent_t begin = nullptr;
    cudaEvent_t end = nullptr;
    CHECK(cudaEventCreate(&begin) == cudaSuccess && cudaEventCreate(&end) == cudaSuccess);
    std::vector<float> times(kRepetitions);
    for (float& time : times)
    {
        cudaEventRecord(begin, nullptr);
        CHECK(humar_msda_cuda(&size, type, value.data(), static_cast<std::int32_t const*>(device_shapes.data()),
                  static_cast<std::int32_t const*>(device_starts.data()),
                  static_cast<float const*>(device_locations.data()), type, weights.data(), 0, output.data(), nullptr)
            == HUMAR_MSDA_OK);
        cudaEventRecord(end, nullptr);
        CHECK(cudaEventSynchronize(end) == cudaSuccess);
        CHECK(cudaEventElapsedTime(&time, begin, end) == cudaSuccess);
    }
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    std::nth_element(times.begin(), times.begin() + kRepetitions / 2, times.end());
    std::printf("encoder layer at 640 x 640, %s: median of %d runs %.0f us\n", name, kRepetitions,
        static_cast<double>(times[kRepetitions / 2]) * 1e3);
}

}  // namespace

int main()
{
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0)
    {
        std::puts("skipped: no CUDA device");
        return kSkipped;
    }
    kernel_cases::compare_all(&launch, 1e-5F);
    time_encoder_layer(HUMAR_MSDA_FLOAT, "FP32");
    time_encoder_layer(HUMAR_MSDA_HALF, "FP16");
    return failures == 0 ? 0 : 1;
}
