#include "ms_deform_attn_plugin.h"

#include "ms_deform_attn_cuda.h"
#include "ms_deform_attn_status.h"

#include <atomic>
#include <cstring>
#include <exception>
#include <new>
#include <string>

namespace humar
{

namespace
{

using nvinfer1::DataType;
using nvinfer1::Dims;

// TensorRT's convention: 0 is success, anything else ends the build or the execution.
constexpr std::int32_t kSuccess = 0;
constexpr std::int32_t kFailure = -1;

enum Tensor : std::int32_t
{
    kValue = 0,
    kShapes = 1,
    kStarts = 2,
    kLocations = 3,
    kWeights = 4,
    kInputCount = 5,
    kOutput = 5,
    kTensorCount = 6
};

constexpr std::int32_t kRanks[kTensorCount] = {4, 2, 1, 6, 5, 4};

// Pairs of axes that must agree in size.
struct SameSize
{
    Tensor tensor;
    std::int32_t axis;
    Tensor other;
    std::int32_t other_axis;
    char const* meaning;
};

constexpr SameSize kSameSizes[] = {
    {kLocations, 0, kValue, 0, "the batch of locations and value"},
    {kLocations, 2, kValue, 2, "the heads of locations and value"},
    {kWeights, 0, kLocations, 0, "the batch of weights and locations"},
    {kWeights, 1, kLocations, 1, "the queries of weights and locations"},
    {kWeights, 2, kLocations, 2, "the heads of weights and locations"},
    {kWeights, 3, kLocations, 3, "the levels of weights and locations"},
    {kWeights, 4, kLocations, 4, "the points of weights and locations"},
    {kShapes, 0, kLocations, 3, "the levels of spatial_shapes and locations"},
    {kStarts, 0, kLocations, 3, "the levels of level_start and locations"},
    {kOutput, 0, kValue, 0, "the batch of the output and value"},
    {kOutput, 1, kLocations, 1, "the queries of the output and locations"},
    {kOutput, 2, kValue, 2, "the heads of the output and value"},
    {kOutput, 3, kValue, 3, "the channels of the output and value"},
};

std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};

void log_error(std::string const& message)
{
    nvinfer1::ILoggerFinder* const finder = logger_finder.load();
    nvinfer1::ILogger* const logger = finder != nullptr ? finder->findLogger() : ::getLogger();
    if (logger != nullptr)
    {
        logger->log(nvinfer1::ILogger::Severity::kERROR, (std::string(kPluginName) + ": " + message).c_str());
    }
}

bool is_axis(Dims const& dims, std::int32_t axis, std::int64_t size)
{
    return dims.d[axis] == size || dims.d[axis] == -1;
}

// Checks ranks and agreeing axes; -1 (not known before run time) agrees with everything.
bool check_shapes(Dims const* const (&dims)[kTensorCount])
{
    for (std::int32_t tensor = 0; tensor < kTensorCount; ++tensor)
    {
        if (dims[tensor]->nbDims != kRanks[tensor])
        {
            log_error("tensor " + std::to_string(tensor) + " must have " + std::to_string(kRanks[tensor])
                + " dimensions, got " + std::to_string(dims[tensor]->nbDims));
            return false;
        }
    }
    for (SameSize const& rule : kSameSizes)
    {
        std::int64_t const size = dims[rule.tensor]->d[rule.axis];
        if (size != -1 && !is_axis(*dims[rule.other], rule.other_axis, size))
        {
            log_error(std::string(rule.meaning) + " differ: " + std::to_string(size) + " and "
                + std::to_string(dims[rule.other]->d[rule.other_axis]));
            return false;
        }
    }
    if (!is_axis(*dims[kShapes], 1, 2) || !is_axis(*dims[kLocations], 5, 2))
    {
        log_error("the last dimension of spatial_shapes and of locations must be 2");
        return false;
    }
    return true;
}

bool check_counts(std::int32_t input_count, std::int32_t output_count)
{
    if (input_count == kInputCount && output_count == 1)
    {
        return true;
    }
    log_error("expected 5 inputs and 1 output, got " + std::to_string(input_count) + " and "
        + std::to_string(output_count));
    return false;
}

std::int32_t to_msda_type(DataType type)
{
    return type == DataType::kHALF ? HUMAR_MSDA_HALF : HUMAR_MSDA_FLOAT;
}

// Runs a body that may throw (allocation of a message) inside a noexcept method of TensorRT.
template <typename Body>
std::int32_t guarded(Body const& body) noexcept
{
    try
    {
        return body();
    }
    catch (std::exception const&)
    {
        return kFailure;
    }
}

// ONNX integers arrive as int32 from the parser and as int64 from the Python API.
bool read_flag(nvinfer1::PluginField const& field, std::int64_t& out)
{
    if (field.data == nullptr || field.length != 1)
    {
        return false;
    }
    if (field.type == nvinfer1::PluginFieldType::kINT32)
    {
        std::int32_t narrow = 0;
        std::memcpy(&narrow, field.data, sizeof(narrow));
        out = narrow;
    }
    else if (field.type == nvinfer1::PluginFieldType::kINT64)
    {
        std::memcpy(&out, field.data, sizeof(out));
    }
    else
    {
        return false;
    }
    return out == 0 || out == 1;
}

}  // namespace

MsDeformAttnPlugin::MsDeformAttnPlugin(bool fused_softmax) noexcept
    : fused_softmax_(fused_softmax ? 1 : 0)
    , field_(kFusedSoftmaxField, &fused_softmax_, nvinfer1::PluginFieldType::kINT32, 1)
    , fields_{1, &field_}
{
}

MsDeformAttnPlugin::MsDeformAttnPlugin(MsDeformAttnPlugin const& other) noexcept
    : MsDeformAttnPlugin(other.fused_softmax_ != 0)
{
}

nvinfer1::IPluginCapability* MsDeformAttnPlugin::getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept
{
    switch (type)
    {
    case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
}

nvinfer1::IPluginV3* MsDeformAttnPlugin::clone() noexcept
{
    return new (std::nothrow) MsDeformAttnPlugin(*this);
}

nvinfer1::AsciiChar const* MsDeformAttnPlugin::getPluginName() const noexcept
{
    return kPluginName;
}

nvinfer1::AsciiChar const* MsDeformAttnPlugin::getPluginVersion() const noexcept
{
    return kPluginVersion;
}

nvinfer1::AsciiChar const* MsDeformAttnPlugin::getPluginNamespace() const noexcept
{
    return kPluginNamespace;
}

std::int32_t MsDeformAttnPlugin::getNbOutputs() const noexcept
{
    return 1;
}

bool MsDeformAttnPlugin::supportsFormatCombination(std::int32_t position,
    nvinfer1::DynamicPluginTensorDesc const* tensors, std::int32_t input_count, std::int32_t output_count) noexcept
{
    // Only positions up to `position` hold valid descriptions.
    if (input_count != kInputCount || output_count != 1 || position < 0 || position >= kTensorCount
        || tensors[position].desc.format != nvinfer1::TensorFormat::kLINEAR)
    {
        return false;
    }
    DataType const type = tensors[position].desc.type;
    DataType const value_type = tensors[kValue].desc.type;
    switch (position)
    {
    case kValue: return type == DataType::kFLOAT || type == DataType::kHALF;
    case kShapes:
    case kStarts: return type == DataType::kINT32;
    case kLocations: return type == DataType::kFLOAT;
    case kWeights: return type == DataType::kFLOAT || type == value_type;
    default: return type == value_type;
    }
}

std::int32_t MsDeformAttnPlugin::getOutputDataTypes(DataType* output_types, std::int32_t output_count,
    DataType const* input_types, std::int32_t input_count) const noexcept
{
    return guarded([&] {
        if (!check_counts(input_count, output_count))
        {
            return kFailure;
        }
        output_types[0] = input_types[kValue];
        return kSuccess;
    });
}

std::int32_t MsDeformAttnPlugin::getOutputShapes(nvinfer1::DimsExprs const* inputs, std::int32_t input_count,
    nvinfer1::DimsExprs const* /* shape_inputs */, std::int32_t /* shape_input_count */, nvinfer1::DimsExprs* outputs,
    std::int32_t output_count, nvinfer1::IExprBuilder& /* builder */) noexcept
{
    return guarded([&] {
        if (!check_counts(input_count, output_count))
        {
            return kFailure;
        }
        for (std::int32_t tensor = 0; tensor < kInputCount; ++tensor)
        {
            if (inputs[tensor].nbDims != kRanks[tensor])
            {
                log_error("input " + std::to_string(tensor) + " must have " + std::to_string(kRanks[tensor])
                    + " dimensions, got " + std::to_string(inputs[tensor].nbDims));
                return kFailure;
            }
        }
        outputs[0].nbDims = kRanks[kOutput];
        outputs[0].d[0] = inputs[kValue].d[0];
        outputs[0].d[1] = inputs[kLocations].d[1];
        outputs[0].d[2] = inputs[kValue].d[2];
        outputs[0].d[3] = inputs[kValue].d[3];
        return kSuccess;
    });
}

std::int32_t MsDeformAttnPlugin::configurePlugin(nvinfer1::DynamicPluginTensorDesc const* inputs,
    std::int32_t input_count, nvinfer1::DynamicPluginTensorDesc const* outputs, std::int32_t output_count) noexcept
{
    return guarded([&] {
        if (!check_counts(input_count, output_count))
        {
            return kFailure;
        }
        Dims const* const dims[kTensorCount] = {&inputs[kValue].desc.dims, &inputs[kShapes].desc.dims,
            &inputs[kStarts].desc.dims, &inputs[kLocations].desc.dims, &inputs[kWeights].desc.dims,
            &outputs[0].desc.dims};
        return check_shapes(dims) ? kSuccess : kFailure;
    });
}

char const* MsDeformAttnPlugin::getTimingCacheID() noexcept
{
    // TensorRT adds shapes and formats itself; only the attribute is left to tell timings apart.
    return fused_softmax_ != 0 ? "softmax" : "weights";
}

std::int32_t MsDeformAttnPlugin::onShapeChange(nvinfer1::PluginTensorDesc const* inputs, std::int32_t input_count,
    nvinfer1::PluginTensorDesc const* outputs, std::int32_t output_count) noexcept
{
    return guarded([&] {
        if (!check_counts(input_count, output_count))
        {
            return kFailure;
        }
        Dims const* const dims[kTensorCount] = {&inputs[kValue].dims, &inputs[kShapes].dims, &inputs[kStarts].dims,
            &inputs[kLocations].dims, &inputs[kWeights].dims, &outputs[0].dims};
        return check_shapes(dims) ? kSuccess : kFailure;
    });
}

std::int32_t MsDeformAttnPlugin::enqueue(nvinfer1::PluginTensorDesc const* input_descs,
    nvinfer1::PluginTensorDesc const* /* output_descs */, void const* const* inputs, void* const* outputs,
    void* /* workspace */, cudaStream_t stream) noexcept
{
    return guarded([&] {
        Dims const& value = input_descs[kValue].dims;
        Dims const& locations = input_descs[kLocations].dims;
        std::int64_t const sizes[] = {
            value.d[0], value.d[1], value.d[2], value.d[3], locations.d[3], locations.d[1], locations.d[4]};
        for (std::int64_t const size : sizes)
        {
            if (size < 0 || size > INT32_MAX)
            {
                log_error(status_message(HUMAR_MSDA_BAD_SIZE));
                return kFailure;
            }
        }
        if (sizes[0] == 0 || sizes[5] == 0)
        {
            return kSuccess;  // an empty batch or no queries: nothing to write
        }
        HumarMsdaSize const size = {static_cast<std::int32_t>(sizes[0]), static_cast<std::int32_t>(sizes[1]),
            static_cast<std::int32_t>(sizes[2]), static_cast<std::int32_t>(sizes[3]),
            static_cast<std::int32_t>(sizes[4]), static_cast<std::int32_t>(sizes[5]),
            static_cast<std::int32_t>(sizes[6])};
        std::int32_t const status = humar_msda_cuda(&size, to_msda_type(input_descs[kValue].type), inputs[kValue],
            static_cast<std::int32_t const*>(inputs[kShapes]), static_cast<std::int32_t const*>(inputs[kStarts]),
            static_cast<float const*>(inputs[kLocations]), to_msda_type(input_descs[kWeights].type), inputs[kWeights],
            fused_softmax_, outputs[0], stream);
        if (status != HUMAR_MSDA_OK)
        {
            log_error(status_message(status));
            return kFailure;
        }
        return kSuccess;
    });
}

nvinfer1::IPluginV3* MsDeformAttnPlugin::attachToContext(nvinfer1::IPluginResourceContext* /* context */) noexcept
{
    return clone();
}

nvinfer1::PluginFieldCollection const* MsDeformAttnPlugin::getFieldsToSerialize() noexcept
{
    return &fields_;
}

MsDeformAttnPluginCreator::MsDeformAttnPluginCreator() noexcept
    : field_(kFusedSoftmaxField, nullptr, nvinfer1::PluginFieldType::kINT32, 1)
    , fields_{1, &field_}
{
}

nvinfer1::IPluginV3* MsDeformAttnPluginCreator::createPlugin(nvinfer1::AsciiChar const* /* name */,
    nvinfer1::PluginFieldCollection const* fields, nvinfer1::TensorRTPhase /* phase */) noexcept
{
    std::int64_t fused_softmax = 0;
    std::int32_t const status = guarded([&] {
        for (std::int32_t i = 0; fields != nullptr && i < fields->nbFields; ++i)
        {
            // Other attributes of the node (plugin_version, plugin_namespace) are the parser's.
            bool const ours = std::strcmp(fields->fields[i].name, kFusedSoftmaxField) == 0;
            if (ours && !read_flag(fields->fields[i], fused_softmax))
            {
                log_error(std::string(kFusedSoftmaxField) + " must be one integer, 0 or 1");
                return kFailure;
            }
        }
        return kSuccess;
    });
    return status == kSuccess ? new (std::nothrow) MsDeformAttnPlugin(fused_softmax != 0) : nullptr;
}

nvinfer1::PluginFieldCollection const* MsDeformAttnPluginCreator::getFieldNames() noexcept
{
    return &fields_;
}

nvinfer1::AsciiChar const* MsDeformAttnPluginCreator::getPluginName() const noexcept
{
    return kPluginName;
}

nvinfer1::AsciiChar const* MsDeformAttnPluginCreator::getPluginVersion() const noexcept
{
    return kPluginVersion;
}

nvinfer1::AsciiChar const* MsDeformAttnPluginCreator::getPluginNamespace() const noexcept
{
    return kPluginNamespace;
}

namespace
{

MsDeformAttnPluginCreator& creator()
{
    static MsDeformAttnPluginCreator instance;
    return instance;
}

}  // namespace

}  // namespace humar

extern "C"
{

void setLoggerFinder(nvinfer1::ILoggerFinder* finder)
{
    humar::logger_finder.store(finder);
}

nvinfer1::IPluginCreatorInterface* const* getCreators(std::int32_t& count)
{
    static nvinfer1::IPluginCreatorInterface* const creators[] = {&humar::creator()};
    count = 1;
    return creators;
}

std::int32_t humar_register_plugins()
{
    return ::getPluginRegistry()->registerCreator(humar::creator(), humar::kPluginNamespace) ? 1 : 0;
}

}  // extern "C"
