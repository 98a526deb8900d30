// The CUDA kernel's source, run on host threads through fake_cuda/cuda_runtime.h and compared with the host library.
#include "cuda_runtime.h"

namespace
{

float4 shared[48 * 1024 / sizeof(float4)];  // what the kernel's `extern __shared__` declaration refers to

}  // namespace

#include "ms_deform_attn.cu"

#include "kernel_cases.h"

namespace
{

std::int32_t launch(HumarMsdaSize const* size, std::int32_t value_type, void const* value,
    std::int32_t const* spatial_shapes, std::int32_t const* level_start, float const* locations,
    std::int32_t weight_type, void const* weights, std::int32_t fused_softmax, void* output)
{
    return humar_msda_cuda(size, value_type, value, spatial_shapes, level_start, locations, weight_type, weights,
        fused_softmax, output, nullptr);
}

void test_levels_that_do_not_fit_add_nothing()
{
    HumarMsdaSize const size = {1, 6, 1, 1, 2, 1, 1};
    float const value[] = {1, 2, 3, 4, 5, 6};
    alignas(8) float const locations[] = {0.5F, 0.5F, 0.5F, 0.5F};
    float const weights[] = {1, 1};
    std::int32_t const bad_shapes[][4] = {{2, 3, 9, 9}, {2, 3, -1, 3}, {2, 3, 65536, 65537}};
    for (auto const& shapes : bad_shapes)
    {
        for (std::int32_t const start : {0, 5, -1})
        {
            std::int32_t const starts[] = {0, start};
            float output[] = {0};
            CHECK(humar_msda_cuda(&size, HUMAR_MSDA_FLOAT, value, shapes, starts, locations, HUMAR_MSDA_FLOAT, weights,
                      0, output, nullptr)
                == HUMAR_MSDA_OK);
            CHECK_NEAR(output[0], 3.5, 1e-6);
        }
    }
}

void test_refusals()
{
    HumarMsdaSize size = {1, 6, 1, 1, 1, 1, 1};
    alignas(16) float const data[8] = {};
    std::int32_t const shapes[] = {2, 3};
    std::int32_t const starts[] = {0};
    float output[] = {0};
    auto const call = [&](float const* locations, std::int32_t weight_type) {
        return humar_msda_cuda(&size, HUMAR_MSDA_FLOAT, data, shapes, starts, locations, weight_type, data, 0, output,
            nullptr);
    };
    CHECK(call(data, HUMAR_MSDA_FLOAT) == HUMAR_MSDA_OK);
    CHECK(call(data + 1, HUMAR_MSDA_FLOAT) == HUMAR_MSDA_MISALIGNED);
    CHECK(call(nullptr, HUMAR_MSDA_FLOAT) == HUMAR_MSDA_NULL_POINTER);
    CHECK(call(data, HUMAR_MSDA_HALF) == HUMAR_MSDA_BAD_TYPE);
    size.points = 5000;  // more footprints than shared memory holds
    CHECK(call(data, HUMAR_MSDA_FLOAT) == HUMAR_MSDA_TOO_LARGE);
    size.points = 0;
    CHECK(call(data, HUMAR_MSDA_FLOAT) == HUMAR_MSDA_BAD_SIZE);
}

}  // namespace

int main()
{
    kernel_cases::compare_all(&launch, 0.0F);  // same arithmetic in the same order
    CHECK(fake_cuda::largest_shared_bytes > 16 * 1024);
    test_levels_that_do_not_fit_add_nothing();
    test_refusals();
    return failures == 0 ? 0 : 1;
}
