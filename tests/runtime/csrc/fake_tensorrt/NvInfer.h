// STAND-IN for TensorRT's NvInfer.h, for tests only. Not NVIDIA's header and not derived from its text.
//
// TensorRT's headers come with TensorRT alone, so this file declares, from the public API documentation of TensorRT 10
// and 11, exactly the part that runtime/csrc/ms_deform_attn_plugin.* uses: names, signatures, const and noexcept. It
// lets the plugin be compiled and its host-side logic be run where TensorRT is not installed. It proves nothing about
// binary layout: never ship anything built against it.
#ifndef HUMAR_FAKE_NVINFER_H
#define HUMAR_FAKE_NVINFER_H

#include <cstddef>
#include <cstdint>

struct CUstream_st;
using cudaStream_t = CUstream_st*;

namespace nvinfer1
{

using AsciiChar = char;

enum class DataType : std::int32_t
{
    kFLOAT = 0,
    kHALF = 1,
    kINT8 = 2,
    kINT32 = 3
};

enum class TensorFormat : std::int32_t
{
    kLINEAR = 0,
    kCHW2 = 1
};

enum class PluginFieldType : std::int32_t
{
    kFLOAT32 = 1,
    kINT32 = 5,
    kINT64 = 10
};

enum class PluginCapabilityType : std::int32_t
{
    kCORE = 0,
    kBUILD = 1,
    kRUNTIME = 2
};

enum class TensorRTPhase : std::int32_t
{
    kBUILD = 0,
    kRUNTIME = 1
};

struct Dims
{
    static constexpr std::int32_t MAX_DIMS = 8;
    std::int32_t nbDims;
    std::int64_t d[MAX_DIMS];
};

struct PluginTensorDesc
{
    Dims dims;
    DataType type;
    TensorFormat format;
    float scale;
};

struct DynamicPluginTensorDesc
{
    PluginTensorDesc desc;
    Dims min;
    Dims max;
    Dims opt;
};

class IDimensionExpr
{
};

struct DimsExprs
{
    std::int32_t nbDims;
    IDimensionExpr const* d[Dims::MAX_DIMS];
};

class IExprBuilder
{
};

class PluginField
{
public:
    AsciiChar const* name;
    void const* data;
    PluginFieldType type;
    std::int32_t length;

    PluginField(AsciiChar const* name_, void const* data_, PluginFieldType type_, std::int32_t length_) noexcept
        : name(name_)
        , data(data_)
        , type(type_)
        , length(length_)
    {
    }
};

struct PluginFieldCollection
{
    std::int32_t nbFields;
    PluginField const* fields;
};

class IVersionedInterface
{
public:
    virtual ~IVersionedInterface() noexcept = default;
};

class ILogger : public IVersionedInterface
{
public:
    enum class Severity : std::int32_t
    {
        kINTERNAL_ERROR = 0,
        kERROR = 1
    };
    virtual void log(Severity severity, AsciiChar const* message) noexcept = 0;
};

class ILoggerFinder : public IVersionedInterface
{
public:
    virtual ILogger* findLogger() = 0;

protected:
    ~ILoggerFinder() override = default;
};

class IPluginResourceContext
{
};

class IPluginCapability : public IVersionedInterface
{
};

class IPluginV3 : public IVersionedInterface
{
public:
    virtual IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept = 0;
    virtual IPluginV3* clone() noexcept = 0;
};

class IPluginV3OneCore : public IPluginCapability
{
public:
    virtual AsciiChar const* getPluginName() const noexcept = 0;
    virtual AsciiChar const* getPluginVersion() const noexcept = 0;
    virtual AsciiChar const* getPluginNamespace() const noexcept = 0;
};

class IPluginV3OneBuild : public IPluginCapability
{
public:
    virtual std::int32_t configurePlugin(DynamicPluginTensorDesc const* in, std::int32_t nbInputs,
        DynamicPluginTensorDesc const* out, std::int32_t nbOutputs) noexcept = 0;
    virtual std::int32_t getOutputDataTypes(DataType* outputTypes, std::int32_t nbOutputs, DataType const* inputTypes,
        std::int32_t nbInputs) const noexcept = 0;
    virtual std::int32_t getOutputShapes(DimsExprs const* inputs, std::int32_t nbInputs, DimsExprs const* shapeInputs,
        std::int32_t nbShapeInputs, DimsExprs* outputs, std::int32_t nbOutputs, IExprBuilder& exprBuilder) noexcept = 0;
    virtual bool supportsFormatCombination(std::int32_t pos, DynamicPluginTensorDesc const* inOut,
        std::int32_t nbInputs, std::int32_t nbOutputs) noexcept = 0;
    virtual std::int32_t getNbOutputs() const noexcept = 0;
    virtual std::size_t getWorkspaceSize(DynamicPluginTensorDesc const* /* inputs */, std::int32_t /* nbInputs */,
        DynamicPluginTensorDesc const* /* outputs */, std::int32_t /* nbOutputs */) const noexcept
    {
        return 0;
    }
    virtual char const* getTimingCacheID() noexcept
    {
        return nullptr;
    }
};

class IPluginV3OneRuntime : public IPluginCapability
{
public:
    virtual std::int32_t onShapeChange(PluginTensorDesc const* in, std::int32_t nbInputs, PluginTensorDesc const* out,
        std::int32_t nbOutputs) noexcept = 0;
    virtual std::int32_t enqueue(PluginTensorDesc const* inputDesc, PluginTensorDesc const* outputDesc,
        void const* const* inputs, void* const* outputs, void* workspace, cudaStream_t stream) noexcept = 0;
    virtual IPluginV3* attachToContext(IPluginResourceContext* context) noexcept = 0;
    virtual PluginFieldCollection const* getFieldsToSerialize() noexcept = 0;
};

class IPluginCreatorInterface : public IVersionedInterface
{
};

class IPluginCreatorV3One : public IPluginCreatorInterface
{
public:
    virtual IPluginV3* createPlugin(
        AsciiChar const* name, PluginFieldCollection const* fc, TensorRTPhase phase) noexcept = 0;
    virtual PluginFieldCollection const* getFieldNames() noexcept = 0;
    virtual AsciiChar const* getPluginName() const noexcept = 0;
    virtual AsciiChar const* getPluginVersion() const noexcept = 0;
    virtual AsciiChar const* getPluginNamespace() const noexcept = 0;
};

class IPluginRegistry
{
public:
    virtual bool registerCreator(IPluginCreatorInterface& creator, AsciiChar const* pluginNamespace) noexcept = 0;

protected:
    virtual ~IPluginRegistry() noexcept = default;
};

}  // namespace nvinfer1

extern "C" nvinfer1::IPluginRegistry* getPluginRegistry() noexcept;
extern "C" nvinfer1::ILogger* getLogger() noexcept;

#endif  // HUMAR_FAKE_NVINFER_H
