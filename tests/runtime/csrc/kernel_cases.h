// The kernel's test cases, compared with the host library; shared by the emulated run and the run on a GPU.
#ifndef HUMAR_TEST_KERNEL_CASES_H
#define HUMAR_TEST_KERNEL_CASES_H

#include "check.h"
#include "ms_deform_attn_cpu.h"

#include <random>
#include <vector>

namespace kernel_cases
{

using humar::Half;

// humar_msda_cuda on host arrays: every argument but the stream.
using Launch = std::int32_t (*)(HumarMsdaSize const* size, std::int32_t value_type, void const* value,
    std::int32_t const* spatial_shapes, std::int32_t const* level_start, float const* locations,
    std::int32_t weight_type, void const* weights, std::int32_t fused_softmax, void* output);

struct Case
{
    HumarMsdaSize size;
    std::vector<std::int32_t> shapes;
    char const* what;
};

// batch, rows, heads, channels, levels, queries, points
inline std::vector<Case> const cases = {
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

inline std::vector<std::int32_t> starts_of(std::vector<std::int32_t> const& shapes)
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
void compare(
    Launch launch, Case const& item, bool softmax, std::int32_t value_type, std::int32_t weight_type, float tolerance)
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
    CHECK(launch(&size, value_type, value.data(), item.shapes.data(), starts.data(), locations.data(), weight_type,
              weights.data(), softmax, actual.data())
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

// `exact` is the tolerance without softmax. With it, exponentials and the order of their sum differ too; in half that
// can move the result by one rounding step.
inline void compare_all(Launch launch, float exact)
{
    for (Case const& item : cases)
    {
        for (bool const softmax : {false, true})
        {
            float const single = softmax ? exact + 1e-6F : exact;
            float const half = softmax || exact > 0 ? 2e-3F : 0.0F;
            compare<float, float>(launch, item, softmax, HUMAR_MSDA_FLOAT, HUMAR_MSDA_FLOAT, single);
            compare<Half, float>(launch, item, softmax, HUMAR_MSDA_HALF, HUMAR_MSDA_FLOAT, half);
            compare<Half, Half>(launch, item, softmax, HUMAR_MSDA_HALF, HUMAR_MSDA_HALF, half);
        }
    }
}

}  // namespace kernel_cases

#endif  // HUMAR_TEST_KERNEL_CASES_H
