// Launch of the CUDA kernel, with a C ABI; same contract as humar_msda_cpu, on device pointers.
#ifndef HUMAR_MS_DEFORM_ATTN_CUDA_H
#define HUMAR_MS_DEFORM_ATTN_CUDA_H

#include "ms_deform_attn.h"

extern "C"
{

// Enqueues one kernel on `stream` (a cudaStream_t) and returns a HumarMsdaStatus without waiting. `size` is a host
// pointer, everything else is on the device. Allocates nothing, so a CUDA graph can capture it. Levels that do not
// fit into size->rows add nothing: their shapes are device data and cannot be checked before the launch.
std::int32_t humar_msda_cuda(HumarMsdaSize const* size, std::int32_t value_type, void const* value,
    std::int32_t const* spatial_shapes, std::int32_t const* level_start, float const* locations,
    std::int32_t weight_type, void const* weights, std::int32_t fused_softmax, void* output, void* stream);

}  // extern "C"

#endif  // HUMAR_MS_DEFORM_ATTN_CUDA_H
