// IEEE 754 binary16 as a 16-bit pattern, with conversions that run on the host and on the device.
//
// The host has no portable half type in C++17, so the pattern is the type; on the device the conversions are the
// hardware's. Both round to nearest, ties to even, and keep subnormals, infinities and NaN.
#ifndef HUMAR_HALF_H
#define HUMAR_HALF_H

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#define HUMAR_HD __host__ __device__
#else
#define HUMAR_HD
#endif

namespace humar
{

struct Half
{
    std::uint16_t bits;
};

namespace detail
{

constexpr std::uint32_t kFloatInfinity = 0x7f800000U;
constexpr std::uint32_t kHalfOverflow = 0x477ff000U;    // 65520: the first float that rounds to infinity
constexpr std::uint32_t kHalfMinNormal = 0x38800000U;   // 2^-14
constexpr std::uint32_t kSubnormalMagic = 0x3f000000U;  // 0.5: its last mantissa bit is 2^-24, one half subnormal step

HUMAR_HD inline std::uint32_t float_bits(float value)
{
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    return bits;
}

HUMAR_HD inline float bits_float(std::uint32_t bits)
{
    float value = 0.0F;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

}  // namespace detail

HUMAR_HD inline float to_float(float value)
{
    return value;
}

HUMAR_HD inline float to_float(Half value)
{
#if defined(__CUDA_ARCH__)
    return __half2float(__ushort_as_half(value.bits));
#else
    std::uint32_t const sign = (value.bits & 0x8000U) << 16U;
    std::uint32_t const exponent = (value.bits >> 10U) & 0x1fU;
    std::uint32_t const mantissa = value.bits & 0x3ffU;
    if (exponent == 0x1fU)
    {
        return detail::bits_float(sign | detail::kFloatInfinity | (mantissa << 13U));
    }
    if (exponent == 0U)
    {
        float const magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8F;  // 2^-24
        return sign != 0U ? -magnitude : magnitude;
    }
    return detail::bits_float(sign | ((exponent + 112U) << 23U) | (mantissa << 13U));
#endif
}

HUMAR_HD inline void from_float(float value, float& out)
{
    out = value;
}

HUMAR_HD inline void from_float(float value, Half& out)
{
#if defined(__CUDA_ARCH__)
    out.bits = __half_as_ushort(__float2half_rn(value));
#else
    std::uint32_t const bits = detail::float_bits(value);
    std::uint32_t const sign = (bits >> 16U) & 0x8000U;
    std::uint32_t const magnitude = bits & 0x7fffffffU;
    std::uint32_t result = 0;
    if (magnitude > detail::kFloatInfinity)
    {
        result = 0x7e00U | ((magnitude >> 13U) & 0x3ffU);  // quiet NaN, payload kept
    }
    else if (magnitude >= detail::kHalfOverflow)
    {
        result = 0x7c00U;
    }
    else if (magnitude < detail::kHalfMinNormal)
    {
        // Adding 0.5 lets the float adder round to the subnormal step; the pattern's low bits are then the answer.
        float const shifted = detail::bits_float(magnitude) + detail::bits_float(detail::kSubnormalMagic);
        result = detail::float_bits(shifted) - detail::kSubnormalMagic;
    }
    else
    {
        std::uint32_t const odd = (magnitude >> 13U) & 1U;
        result = (magnitude - (112U << 23U) + 0xfffU + odd) >> 13U;
    }
    out.bits = static_cast<std::uint16_t>(sign | result);
#endif
}

}  // namespace humar

#endif  // HUMAR_HALF_H
