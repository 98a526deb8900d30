// Multi-scale deformable attention: the sampling arithmetic, shared by the host library and the CUDA kernel.
//
// Operation (Deformable DETR, arXiv 2010.04159, equation 3, after the linear projections): for image n, query q, head m
//
//     out[n, q, m, :] = sum over levels l and points p of
//                       weight[n, q, m, l, p] * bilinear(value of level l and head m, location[n, q, m, l, p])
//
// Layouts, all dense and row-major:
//     value          [N, S, M, D]         FP32 or FP16; the levels' pixels one after another in S
//     spatial_shapes [L, 2]               int32 (height, width)
//     level_start    [L]                  int32, first row of the level in S
//     locations      [N, Lq, M, L, P, 2]  FP32 (x, y) in units of the level's width and height; [0, 1] is inside
//     weights        [N, Lq, M, L, P]     FP32 or value's type; already soft-maxed over (L, P), or logits if fused
//     output         [N, Lq, M, D]        value's type
//
// Sampling is torch's grid_sample(bilinear, zeros, align_corners=False): pixel = location * size - 0.5, and a
// neighbour outside the level counts as zero. Coordinates, weights and sums are FP32 whatever the value type is: in
// half a coordinate at 640 pixels is off by up to 0.4 pixel.
#ifndef HUMAR_MS_DEFORM_ATTN_H
#define HUMAR_MS_DEFORM_ATTN_H

#include "half.h"

#include <cmath>
#include <cstdint>

extern "C"
{

// Sizes of one call; plain C so that ctypes can fill it in.
typedef struct HumarMsdaSize
{
    std::int32_t batch;    // N
    std::int32_t rows;     // S, pixels of all levels
    std::int32_t heads;    // M
    std::int32_t channels; // D, per head
    std::int32_t levels;   // L
    std::int32_t queries;  // Lq
    std::int32_t points;   // P
} HumarMsdaSize;

typedef enum HumarMsdaType
{
    HUMAR_MSDA_FLOAT = 0,
    HUMAR_MSDA_HALF = 1
} HumarMsdaType;

typedef enum HumarMsdaStatus
{
    HUMAR_MSDA_OK = 0,
    HUMAR_MSDA_NULL_POINTER = 1,
    HUMAR_MSDA_BAD_SIZE = 2,
    HUMAR_MSDA_BAD_TYPE = 3,
    HUMAR_MSDA_BAD_LEVEL = 4,
    HUMAR_MSDA_TOO_LARGE = 5,
    HUMAR_MSDA_MISALIGNED = 6,
    HUMAR_MSDA_LAUNCH_FAILED = 7
} HumarMsdaStatus;

}  // extern "C"

namespace humar
{

struct Level
{
    std::int32_t height;
    std::int32_t width;
    std::int32_t start;
};

// Where one sampling point reads: the row of its upper left neighbour and the four neighbours' weights in the order
// upper left, upper right, lower left, lower right. A neighbour outside the level has weight zero and is never read, so
// `row` may then point outside the level.
struct Footprint
{
    std::int32_t row;
    float weight[4];
};

template <typename T, int kVector>
struct alignas(sizeof(T) * kVector) Pack
{
    T item[kVector];
};

// Whether every row of the level lies inside the S rows of `value`. Levels that do not fit are refused on the host and
// skipped on the device, where the shapes are data and cannot be refused.
HUMAR_HD inline bool level_fits(Level const& level, std::int32_t rows)
{
    return level.height > 0 && level.width > 0 && level.start >= 0 && level.start <= rows
        && static_cast<std::int64_t>(level.height) * level.width <= static_cast<std::int64_t>(rows) - level.start;
}

// x, y: location as a fraction of the level's width and height. attention: the point's weight. Locations that are not
// finite, or more than one pixel outside, give a footprint of zero weight.
HUMAR_HD inline Footprint make_footprint(float x, float y, Level const& level, float attention)
{
    Footprint footprint = {0, {0.0F, 0.0F, 0.0F, 0.0F}};
    // One rounding instead of two, and the same one on both sides.
    float const u = fmaf(x, static_cast<float>(level.width), -0.5F);
    float const v = fmaf(y, static_cast<float>(level.height), -0.5F);
    // Also false for NaN; keeps the conversions to integer below in range.
    bool const near = u > -1.0F && v > -1.0F && u < static_cast<float>(level.width)
        && v < static_cast<float>(level.height);
    if (!near)
    {
        return footprint;
    }
    float const left = floorf(u);
    float const top = floorf(v);
    std::int32_t const column = static_cast<std::int32_t>(left);
    std::int32_t const line = static_cast<std::int32_t>(top);
    float const right_part = u - left;
    float const lower_part = v - top;
    float const upper = attention * (1.0F - lower_part);
    float const lower = attention * lower_part;
    bool const has_left = column >= 0;
    bool const has_right = column + 1 < level.width;
    bool const has_upper = line >= 0;
    bool const has_lower = line + 1 < level.height;
    footprint.row = level.start + line * level.width + column;
    footprint.weight[0] = has_upper && has_left ? upper * (1.0F - right_part) : 0.0F;
    footprint.weight[1] = has_upper && has_right ? upper * right_part : 0.0F;
    footprint.weight[2] = has_lower && has_left ? lower * (1.0F - right_part) : 0.0F;
    footprint.weight[3] = has_lower && has_right ? lower * right_part : 0.0F;
    return footprint;
}

// Adds the footprint's kVector channels to `sum`. `value` points at channel c of head m in row 0 of the image;
// `stride` is M * D. With kVector > 1 `value` and `stride` must be aligned to kVector elements.
template <int kVector, typename T>
HUMAR_HD inline void accumulate(
    float (&sum)[kVector], T const* value, std::int32_t stride, std::int32_t width, Footprint const& footprint)
{
    std::int32_t const rows[4] = {footprint.row, footprint.row + 1, footprint.row + width, footprint.row + width + 1};
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
    for (int tap = 0; tap < 4; ++tap)
    {
        float const weight = footprint.weight[tap];
        if (weight != 0.0F)
        {
            Pack<T, kVector> const pack
                = *reinterpret_cast<Pack<T, kVector> const*>(value + static_cast<std::int64_t>(rows[tap]) * stride);
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
            for (int i = 0; i < kVector; ++i)
            {
                sum[i] = fmaf(weight, to_float(pack.item[i]), sum[i]);
            }
        }
    }
}

// Sizes that both back ends accept: positive, and small enough for the 32-bit offsets inside one image.
inline HumarMsdaStatus check_size(HumarMsdaSize const& size)
{
    std::int32_t const fields[] = {
        size.batch, size.rows, size.heads, size.channels, size.levels, size.queries, size.points};
    for (std::int32_t const field : fields)
    {
        if (field <= 0)
        {
            return HUMAR_MSDA_BAD_SIZE;
        }
    }
    double const limit = 2147483647.0;
    double const image = static_cast<double>(size.rows) * size.heads * size.channels;
    double const pairs = static_cast<double>(size.batch) * size.queries * size.heads;
    double const samples = static_cast<double>(size.levels) * size.points;
    return image > limit || pairs > limit || samples > limit ? HUMAR_MSDA_TOO_LARGE : HUMAR_MSDA_OK;
}

// FP16 weights come with FP16 values only; every other pair of known types is served.
inline HumarMsdaStatus check_types(std::int32_t value_type, std::int32_t weight_type)
{
    bool const known = (value_type == HUMAR_MSDA_FLOAT || value_type == HUMAR_MSDA_HALF)
        && (weight_type == HUMAR_MSDA_FLOAT || weight_type == value_type);
    return known ? HUMAR_MSDA_OK : HUMAR_MSDA_BAD_TYPE;
}

}  // namespace humar

#endif  // HUMAR_MS_DEFORM_ATTN_H
