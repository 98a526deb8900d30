// TensorRT plugin (IPluginV3) around the kernel of ms_deform_attn.cu. Needs TensorRT 10.0 or newer.
//
// The name, the inputs and the output are those of NVIDIA's plugin of the same name, so one exported node can be served
// by either; namespace and version are this project's own, so that both can be registered in one process:
//     inputs   0 value [N,S,M,D]  1 spatial_shapes int32 [L,2]  2 level_start int32 [L]
//              3 locations [N,Lq,M,L,P,2]  4 weights [N,Lq,M,L,P]
//     output   0 [N,Lq,M,D]
// Unlike NVIDIA's, the locations stay FP32 with FP16 values; the weights are FP32 or the values' type.
// Attribute: fused_softmax (int, default 0): 1 = `weights` are logits, soft-maxed over (L, P) inside the kernel.
#ifndef HUMAR_MS_DEFORM_ATTN_PLUGIN_H
#define HUMAR_MS_DEFORM_ATTN_PLUGIN_H

#include "ms_deform_attn.h"

#include <NvInfer.h>

namespace humar
{

constexpr char const* kPluginName = "MultiscaleDeformableAttnPlugin_TRT";
constexpr char const* kPluginVersion = "1";
constexpr char const* kPluginNamespace = "humar";
constexpr char const* kFusedSoftmaxField = "fused_softmax";

class MsDeformAttnPlugin final : public nvinfer1::IPluginV3,
                                 public nvinfer1::IPluginV3OneCore,
                                 public nvinfer1::IPluginV3OneBuild,
                                 public nvinfer1::IPluginV3OneRuntime
{
public:
    explicit MsDeformAttnPlugin(bool fused_softmax) noexcept;
    // The copy rebuilds the serialised field, which points into its own object.
    MsDeformAttnPlugin(MsDeformAttnPlugin const& other) noexcept;
    MsDeformAttnPlugin& operator=(MsDeformAttnPlugin const&) = delete;
    ~MsDeformAttnPlugin() override = default;

    // IPluginV3
    nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override;
    nvinfer1::IPluginV3* clone() noexcept override;

    // IPluginV3OneCore
    nvinfer1::AsciiChar const* getPluginName() const noexcept override;
    nvinfer1::AsciiChar const* getPluginVersion() const noexcept override;
    nvinfer1::AsciiChar const* getPluginNamespace() const noexcept override;

    // IPluginV3OneBuild
    std::int32_t getNbOutputs() const noexcept override;
    bool supportsFormatCombination(std::int32_t position, nvinfer1::DynamicPluginTensorDesc const* tensors,
        std::int32_t input_count, std::int32_t output_count) noexcept override;
    std::int32_t getOutputDataTypes(nvinfer1::DataType* output_types, std::int32_t output_count,
        nvinfer1::DataType const* input_types, std::int32_t input_count) const noexcept override;
    std::int32_t getOutputShapes(nvinfer1::DimsExprs const* inputs, std::int32_t input_count,
        nvinfer1::DimsExprs const* shape_inputs, std::int32_t shape_input_count, nvinfer1::DimsExprs* outputs,
        std::int32_t output_count, nvinfer1::IExprBuilder& builder) noexcept override;
    std::int32_t configurePlugin(nvinfer1::DynamicPluginTensorDesc const* inputs, std::int32_t input_count,
        nvinfer1::DynamicPluginTensorDesc const* outputs, std::int32_t output_count) noexcept override;
    char const* getTimingCacheID() noexcept override;

    // IPluginV3OneRuntime
    std::int32_t onShapeChange(nvinfer1::PluginTensorDesc const* inputs, std::int32_t input_count,
        nvinfer1::PluginTensorDesc const* outputs, std::int32_t output_count) noexcept override;
    std::int32_t enqueue(nvinfer1::PluginTensorDesc const* input_descs, nvinfer1::PluginTensorDesc const* output_descs,
        void const* const* inputs, void* const* outputs, void* workspace, cudaStream_t stream) noexcept override;
    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext* context) noexcept override;
    nvinfer1::PluginFieldCollection const* getFieldsToSerialize() noexcept override;

private:
    std::int32_t fused_softmax_;
    nvinfer1::PluginField field_;
    nvinfer1::PluginFieldCollection fields_;
};

class MsDeformAttnPluginCreator final : public nvinfer1::IPluginCreatorV3One
{
public:
    MsDeformAttnPluginCreator() noexcept;

    // Null when the fields are not understood; the reason goes to TensorRT's logger.
    nvinfer1::IPluginV3* createPlugin(nvinfer1::AsciiChar const* name, nvinfer1::PluginFieldCollection const* fields,
        nvinfer1::TensorRTPhase phase) noexcept override;
    nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override;
    nvinfer1::AsciiChar const* getPluginName() const noexcept override;
    nvinfer1::AsciiChar const* getPluginVersion() const noexcept override;
    nvinfer1::AsciiChar const* getPluginNamespace() const noexcept override;

private:
    nvinfer1::PluginField field_;
    nvinfer1::PluginFieldCollection fields_;
};

}  // namespace humar

extern "C"
{

// The two entry points that IPluginRegistry::loadLibrary (and trtexec --dynamicPlugins) look for.
__attribute__((visibility("default"))) void setLoggerFinder(nvinfer1::ILoggerFinder* finder);
__attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const* getCreators(std::int32_t& count);

// For processes that load the library with dlopen or ctypes: registers the creator, 1 = registered, 0 = refused (it is
// there already). Do not combine with loadLibrary, which registers on its own.
__attribute__((visibility("default"))) std::int32_t humar_register_plugins();

}  // extern "C"

#endif  // HUMAR_MS_DEFORM_ATTN_PLUGIN_H
