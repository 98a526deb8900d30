// The sentence for every HumarMsdaStatus; one table for the host library and the plugin's error messages.
#ifndef HUMAR_MS_DEFORM_ATTN_STATUS_H
#define HUMAR_MS_DEFORM_ATTN_STATUS_H

#include "ms_deform_attn.h"

namespace humar
{

inline char const* status_message(std::int32_t status)
{
    static char const* const messages[] = {
        "ok",
        "a tensor pointer is null",
        "every size must be positive",
        "values must be FP32 or FP16, and the weights FP32 or the values' type",
        "a level's height, width and start do not fit into the rows of value",
        "an image, or the number of (image, query, head) triples, exceeds 2^31 - 1 elements",
        "locations must be aligned to 8 bytes",
        "CUDA refused the kernel launch",
    };
    bool const known = status >= HUMAR_MSDA_OK && status <= HUMAR_MSDA_LAUNCH_FAILED;
    return known ? messages[status] : "unknown status";
}

}  // namespace humar

#endif  // HUMAR_MS_DEFORM_ATTN_STATUS_H
