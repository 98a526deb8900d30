// Host library: the operation of ms_deform_attn.h on the CPU, with a C ABI.
//
// It exists to prove the arithmetic that the CUDA kernel shares, on machines without a GPU. It runs on one thread.
#ifndef HUMAR_MS_DEFORM_ATTN_CPU_H
#define HUMAR_MS_DEFORM_ATTN_CPU_H

#include "ms_deform_attn.h"

#if defined(_WIN32)
#define HUMAR_EXPORT __declspec(dllexport)
#else
#define HUMAR_EXPORT __attribute__((visibility("default")))
#endif

extern "C"
{

// Returns a HumarMsdaStatus; on anything but HUMAR_MSDA_OK `output` is untouched. value_type and weight_type are
// HumarMsdaType; fused_softmax != 0 means that `weights` are logits.
HUMAR_EXPORT std::int32_t humar_msda_cpu(HumarMsdaSize const* size, std::int32_t value_type, void const* value,
    std::int32_t const* spatial_shapes, std::int32_t const* level_start, float const* locations,
    std::int32_t weight_type, void const* weights, std::int32_t fused_softmax, void* output);

// One line in English for a status code; never null.
HUMAR_EXPORT char const* humar_msda_message(std::int32_t status);

HUMAR_EXPORT std::uint16_t humar_float_to_half(float value);
HUMAR_EXPORT float humar_half_to_float(std::uint16_t bits);

}  // extern "C"

#endif  // HUMAR_MS_DEFORM_ATTN_CPU_H
