// Host library: hand-computed samples, half conversions, refusals.
#include "check.h"
#include "ms_deform_attn_cpu.h"

#include <limits>
#include <vector>

namespace
{

// One image, one head, one channel, one query, one point on a 2 x 3 level holding 1..6.
float sample(float x, float y)
{
    HumarMsdaSize const size = {1, 6, 1, 1, 1, 1, 1};
    float const value[] = {1, 2, 3, 4, 5, 6};
    std::int32_t const shapes[] = {2, 3};
    std::int32_t const starts[] = {0};
    float const location[] = {x, y};
    float const weight[] = {1};
    float output[] = {-7};
    std::int32_t const result = humar_msda_cpu(
        &size, HUMAR_MSDA_FLOAT, value, shapes, starts, location, HUMAR_MSDA_FLOAT, weight, 0, output);
    CHECK(result == HUMAR_MSDA_OK);
    return output[0];
}

void test_samples()
{
    CHECK_NEAR(sample(0.5F / 3, 0.25F), 1, 1e-6);         // centre of the first pixel
    CHECK_NEAR(sample(2.5F / 3, 0.75F), 6, 1e-6);         // centre of the last pixel
    CHECK_NEAR(sample(0.5F, 0.5F), 3.5, 1e-6);            // the middle: 2 and 5
    CHECK_NEAR(sample(0.0F, 0.0F), 0.25, 1e-6);           // the corner: a quarter of 1, the rest outside
    CHECK_NEAR(sample(1.0F, 1.0F), 1.5, 1e-6);            // the other corner: a quarter of 6
    CHECK_NEAR(sample(-0.5F / 3, 0.25F), 0, 1e-6);        // one pixel left of the first centre
    CHECK_NEAR(sample(3.0F, -2.0F), 0, 0);                // far outside
    float const infinity = std::numeric_limits<float>::infinity();
    float const nan = std::numeric_limits<float>::quiet_NaN();
    CHECK_NEAR(sample(infinity, 0.5F), 0, 0);
    CHECK_NEAR(sample(0.5F, -infinity), 0, 0);
    CHECK_NEAR(sample(nan, 0.5F), 0, 0);
    CHECK_NEAR(sample(1e30F, 0.5F), 0, 0);
}

void test_vector_width_does_not_change_the_sum()
{
    alignas(16) float value[4 * 8];
    for (int i = 0; i < 32; ++i)
    {
        value[i] = static_cast<float>(i * i % 17) - 8;
    }
    humar::Footprint const footprint = humar::make_footprint(0.4F, 0.6F, {2, 2, 0}, 0.7F);
    for (int channel = 0; channel < 8; channel += 4)
    {
        float wide[4] = {};
        humar::accumulate<4>(wide, value + channel, 8, 2, footprint);
        for (int i = 0; i < 4; ++i)
        {
            float narrow[1] = {};
            humar::accumulate<1>(narrow, value + channel + i, 8, 2, footprint);
            CHECK(narrow[0] == wide[i]);
        }
    }
}

void test_half()
{
    CHECK(humar_float_to_half(1.0F) == 0x3c00);
    CHECK(humar_float_to_half(-2.0F) == 0xc000);
    CHECK(humar_float_to_half(65504.0F) == 0x7bff);
    CHECK(humar_float_to_half(65519.9F) == 0x7bff);
    CHECK(humar_float_to_half(65520.0F) == 0x7c00);
    CHECK(humar_float_to_half(5.9604645e-8F) == 0x0001);  // smallest subnormal
    CHECK(humar_float_to_half(2.9802322e-8F) == 0x0000);  // a tie goes to even
    CHECK(humar_float_to_half(-0.0F) == 0x8000);
    CHECK(humar_float_to_half(2049.0F) == 0x6800);  // a tie between 2048 and 2050 goes to even
    CHECK(humar_float_to_half(2051.0F) == 0x6802);
    CHECK(std::isnan(humar_half_to_float(humar_float_to_half(std::numeric_limits<float>::quiet_NaN()))));
    for (std::uint32_t bits = 0; bits <= 0xffffU; ++bits)
    {
        float const value = humar_half_to_float(static_cast<std::uint16_t>(bits));
        CHECK(std::isnan(value) || humar_float_to_half(value) == bits);
    }
}

void test_refusals()
{
    HumarMsdaSize const good = {1, 6, 1, 1, 1, 1, 1};
    float const value[6] = {};
    std::int32_t const shapes[] = {2, 3};
    std::int32_t const starts[] = {0};
    std::int32_t const late[] = {1};
    float const location[] = {0.5F, 0.5F};
    float const weight[] = {1};
    float output[] = {0};
    auto const call = [&](HumarMsdaSize const* size, std::int32_t type, std::int32_t weight_type,
                          std::int32_t const* level_start) {
        return humar_msda_cpu(
            size, type, value, shapes, level_start, location, weight_type, weight, 0, output);
    };
    HumarMsdaSize empty = good;
    empty.queries = 0;
    HumarMsdaSize huge = good;
    huge.rows = huge.channels = 1 << 20;
    CHECK(call(&good, HUMAR_MSDA_FLOAT, HUMAR_MSDA_FLOAT, starts) == HUMAR_MSDA_OK);
    CHECK(call(nullptr, HUMAR_MSDA_FLOAT, HUMAR_MSDA_FLOAT, starts) == HUMAR_MSDA_NULL_POINTER);
    CHECK(call(&good, HUMAR_MSDA_FLOAT, HUMAR_MSDA_FLOAT, nullptr) == HUMAR_MSDA_NULL_POINTER);
    CHECK(call(&empty, HUMAR_MSDA_FLOAT, HUMAR_MSDA_FLOAT, starts) == HUMAR_MSDA_BAD_SIZE);
    CHECK(call(&huge, HUMAR_MSDA_FLOAT, HUMAR_MSDA_FLOAT, starts) == HUMAR_MSDA_TOO_LARGE);
    CHECK(call(&good, 2, HUMAR_MSDA_FLOAT, starts) == HUMAR_MSDA_BAD_TYPE);
    CHECK(call(&good, HUMAR_MSDA_FLOAT, HUMAR_MSDA_HALF, starts) == HUMAR_MSDA_BAD_TYPE);
    CHECK(call(&good, HUMAR_MSDA_FLOAT, HUMAR_MSDA_FLOAT, late) == HUMAR_MSDA_BAD_LEVEL);
    for (std::int32_t status = -1; status <= HUMAR_MSDA_LAUNCH_FAILED + 1; ++status)
    {
        CHECK(humar_msda_message(status) != nullptr);
    }
}

}  // namespace

int main()
{
    test_samples();
    test_vector_width_does_not_change_the_sum();
    test_half();
    test_refusals();
    return failures == 0 ? 0 : 1;
}
