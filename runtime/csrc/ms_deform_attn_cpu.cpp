#include "ms_deform_attn_cpu.h"

#include "ms_deform_attn_status.h"

#include <algorithm>
#include <vector>

namespace
{

using humar::Footprint;
using humar::Half;
using humar::Level;

// Reads the L * P weights of one (image, query, head), soft-maxed over them when asked.
template <typename W>
void read_weights(W const* weights, bool softmax, std::vector<float>& out)
{
    for (std::size_t i = 0; i < out.size(); ++i)
    {
        out[i] = humar::to_float(weights[i]);
    }
    if (!softmax)
    {
        return;
    }
    float const largest = *std::max_element(out.begin(), out.end());
    float total = 0.0F;
    for (float& weight : out)
    {
        weight = std::exp(weight - largest);
        total += weight;
    }
    for (float& weight : out)
    {
        weight /= total;
    }
}

template <typename T, typename W>
void run(HumarMsdaSize const& size, std::vector<Level> const& levels, T const* value, float const* locations,
    W const* weights, bool softmax, T* output)
{
    std::int32_t const samples = size.levels * size.points;
    std::int32_t const stride = size.heads * size.channels;
    std::int64_t const pairs = static_cast<std::int64_t>(size.batch) * size.queries * size.heads;
    std::vector<float> attention(static_cast<std::size_t>(samples));
    std::vector<Footprint> footprints(static_cast<std::size_t>(samples));
    for (std::int64_t pair = 0; pair < pairs; ++pair)
    {
        std::int64_t const head = pair % size.heads;
        std::int64_t const image = pair / size.heads / size.queries;
        T const* head_value = value + image * size.rows * stride + head * size.channels;
        read_weights(weights + pair * samples, softmax, attention);
        for (std::int32_t i = 0; i < samples; ++i)
        {
            float const* location = locations + (pair * samples + i) * 2;
            footprints[i] = humar::make_footprint(location[0], location[1], levels[i / size.points], attention[i]);
        }
        for (std::int32_t channel = 0; channel < size.channels; ++channel)
        {
            float sum[1] = {0.0F};
            for (std::int32_t i = 0; i < samples; ++i)
            {
                humar::accumulate<1>(sum, head_value + channel, stride, levels[i / size.points].width, footprints[i]);
            }
            humar::from_float(sum[0], output[pair * size.channels + channel]);
        }
    }
}

}  // namespace

extern "C"
{

std::int32_t humar_msda_cpu(HumarMsdaSize const* size, std::int32_t value_type, void const* value,
    std::int32_t const* spatial_shapes, std::int32_t const* level_start, float const* locations,
    std::int32_t weight_type, void const* weights, std::int32_t fused_softmax, void* output)
{
    void const* const pointers[] = {size, value, spatial_shapes, level_start, locations, weights, output};
    if (std::find(std::begin(pointers), std::end(pointers), nullptr) != std::end(pointers))
    {
        return HUMAR_MSDA_NULL_POINTER;
    }
    HumarMsdaStatus status = humar::check_size(*size);
    status = status == HUMAR_MSDA_OK ? humar::check_types(value_type, weight_type) : status;
    if (status != HUMAR_MSDA_OK)
    {
        return status;
    }
    std::vector<Level> levels;
    for (std::int32_t i = 0; i < size->levels; ++i)
    {
        levels.push_back({spatial_shapes[2 * i], spatial_shapes[2 * i + 1], level_start[i]});
        if (!humar::level_fits(levels.back(), size->rows))
        {
            return HUMAR_MSDA_BAD_LEVEL;
        }
    }
    bool const softmax = fused_softmax != 0;
    if (value_type == HUMAR_MSDA_FLOAT)
    {
        run(*size, levels, static_cast<float const*>(value), locations, static_cast<float const*>(weights), softmax,
            static_cast<float*>(output));
    }
    else if (weight_type == HUMAR_MSDA_FLOAT)
    {
        run(*size, levels, static_cast<Half const*>(value), locations, static_cast<float const*>(weights), softmax,
            static_cast<Half*>(output));
    }
    else
    {
        run(*size, levels, static_cast<Half const*>(value), locations, static_cast<Half const*>(weights), softmax,
            static_cast<Half*>(output));
    }
    return HUMAR_MSDA_OK;
}

char const* humar_msda_message(std::int32_t status)
{
    return humar::status_message(status);
}

std::uint16_t humar_float_to_half(float value)
{
    Half half = {0};
    humar::from_float(value, half);
    return half.bits;
}

float humar_half_to_float(std::uint16_t bits)
{
    return humar::to_float(Half{bits});
}

}  // extern "C"
