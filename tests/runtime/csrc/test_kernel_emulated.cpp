// The CUDA kernel's source, run on host threads through fake_cuda/cuda_runtime.h and compared with the host library.
#include "cuda_runtime.h"

namespace
{

float4 shared[48 * 1024 / sizeof(float4)];  // what the kernel's `extern __shared__` declaration refers to

}  // namespace

#include "ms_deform_attn.cu"

#include "check.h"
#include "ms_deform_attn_cpu.h"

#include <random>

namespace
{

struct Case
{
    HumarMsdaSize size;
    std::vector<std::int32_t> shapes;
    char const* what;
};

// batch, rows, heads, channels, levels, queries, points
std::vector<Case> const cases = {
    {{1, 34, 8, 32, 4, 9, 4}, {4, 5, 3, 3, 2, 2, 1, 1}, "the model's heads and points, with a tail block"},
    {{2, 6, 2, 8, 1, 5, 1}, {2, 3}, "one lane per pair in FP16"},
    {{1, 7, 3, 12, 2, 7, 3}, {3, 2, 1, 1}, "three chunks on four lanes, scalar FP16 reads"},
    {{1, 9, 1, 5, 1, 3, 2}, {3, 3}, "channels that no vector divides"},
    {{1, 12, 2, 160, 1, 2, 3}, {3, 4}, "more chunks than lanes"},
    {{1, 10, 1, 4, 2, 40, 33}, {3, 3, 1, 1}, "many points: fewer pairs in a block"},
};

template <typename T>
std::vector<T> random_values(std::size_t count, float low, float high, std::mt19937& generator)
{
    std::uniform_real_distribution<float> distribution(low, high);
    std::vector<T> result(count);
    for (T& item : result)
    {
        humar::from_float(distribution(generator), item);
    }
    return result;
}

std::vector<std::int32_t> starts_of(std::vector<std::int32_t> const& shapes)
{
    std::vector<std::int32_t> starts;
    std::int32_t next = 0;
    for (std::size_t i = 0; i < shapes.size(); i += 2)
    {
        starts.push_back(next);
        next += shapes[i] * shapes[i + 1];
    }
    return starts;
}

template <typename T, typename W>
void compare(Case const& item, bool softmax, std::int32_t value_type, std::int32_t weight_type, float tolerance)
{
    std::mt19937 generator(7);
    HumarMsdaSize const& size = item.size;
    std::size_t const pairs = static_cast<std::size_t>(size.batch) * size.queries * size.heads;
    std::size_t const samples = static_cast<std::size_t>(size.levels) * size.points;
    auto const value = random_values<T>(
        static_cast<std::size_t>(size.batch) * size.rows * size.heads * size.channels, -1, 1, generator);
    // Eight bytes alignment is demanded of the locations: vectors of float have it.
    auto const locations = random_values<float>(pairs * samples * 2, -0.3F, 1.3F, generator);
    auto const weights = random_values<W>(pairs * samples, softmax ? -4.0F : 0.0F, softmax ? 4.0F : 0.2F, generator);
    std::vector<std::int32_t> const starts = starts_of(item.shapes);
    std::vector<T> expected(pairs * size.channels);
    std::vector<T> actual(expected.size());
    CHECK(humar_msda_cpu(&size, value_type, value.data(), item.shapes.data(), starts.data(), locations.data(),
              weight_type, weights.data(), softmax, expected.data())
        == HUMAR_MSDA_OK);
    CHECK(humar_msda_cuda(&size, value_type, value.data(), item.shapes.data(), starts.data(), locations.data(),
              weight_type, weights.data(), softmax, actual.data(), nullptr)
        == HUMAR_MSDA_OK);
    int const before = failures;
    for (std::size_t i = 0; i < expected.size() && failures == before; ++i)
    {
        CHECK_NEAR(humar::to_float(actual[i]), humar::to_float(expected[i]), tolerance);
    }
    if (failures != before)
    {
        std::fprintf(stderr, "  in: %s, softmax %d, types %d %d\n", item.what, softmax, value_type, weight_type);
    }
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
    for (Case const& item : cases)
    {
        for (bool const softmax : {false, true})
        {
            // Same arithmetic in the same order, except for the order of the softmax sum. Half: one rounding step.
            compare<float, float>(item, softmax, HUMAR_MSDA_FLOAT, HUMAR_MSDA_FLOAT, softmax ? 1e-6F : 0.0F);
            compare<Half, float>(item, softmax, HUMAR_MSDA_HALF, HUMAR_MSDA_FLOAT, softmax ? 2e-3F : 0.0F);
            compare<Half, Half>(item, softmax, HUMAR_MSDA_HALF, HUMAR_MSDA_HALF, softmax ? 2e-3F : 0.0F);
        }
    }
    CHECK(fake_cuda::largest_shared_bytes > 16 * 1024);
    test_levels_that_do_not_fit_add_nothing();
    test_refusals();
    return failures == 0 ? 0 : 1;
}
