// The plugin's host-side logic, driven through the stand-in for TensorRT. The kernel launch is replaced by the host
// library, so that enqueue's argument passing is checked with numbers too.
#include "check.h"
#include "ms_deform_attn_cpu.h"
#include "ms_deform_attn_cuda.h"
#include "ms_deform_attn_plugin.h"

#include <cstring>
#include <memory>
#include <string>
#include <vector>

using namespace nvinfer1;

namespace
{

class Recorder final : public ILogger
{
public:
    void log(Severity /* severity */, AsciiChar const* message) noexcept override
    {
        last = message;
    }
    std::string last;
};

class Registry final : public IPluginRegistry
{
public:
    bool registerCreator(IPluginCreatorInterface& creator, AsciiChar const* name_space) noexcept override
    {
        bool const is_new = known == nullptr;
        known = &creator;
        last_namespace = name_space;
        return is_new;
    }
    IPluginCreatorInterface* known = nullptr;
    std::string last_namespace;
};

class Finder final : public ILoggerFinder
{
public:
    ILogger* findLogger() override
    {
        return &recorder;
    }
    Recorder recorder;
};

Recorder logger;
Registry registry;
void* last_stream = nullptr;

// value [2,8,2,4], two levels (2x3 and 1x2), three queries, two points.
std::vector<PluginTensorDesc> describe(DataType value, DataType weight)
{
    TensorFormat const linear = TensorFormat::kLINEAR;
    return {
        {{4, {2, 8, 2, 4}}, value, linear, 0},
        {{2, {2, 2}}, DataType::kINT32, linear, 0},
        {{1, {2}}, DataType::kINT32, linear, 0},
        {{6, {2, 3, 2, 2, 2, 2}}, DataType::kFLOAT, linear, 0},
        {{5, {2, 3, 2, 2, 2}}, weight, linear, 0},
        {{4, {2, 3, 2, 4}}, value, linear, 0},
    };
}

std::vector<DynamicPluginTensorDesc> dynamic(std::vector<PluginTensorDesc> const& descs)
{
    std::vector<DynamicPluginTensorDesc> result;
    for (PluginTensorDesc const& desc : descs)
    {
        result.push_back({desc, desc.dims, desc.dims, desc.dims});
    }
    return result;
}

template <typename T>
std::unique_ptr<T> create(PluginFieldCollection const* fields)
{
    std::int32_t count = 0;
    auto* const creator = static_cast<IPluginCreatorV3One*>(getCreators(count)[0]);
    CHECK(count == 1);
    return std::unique_ptr<T>(static_cast<T*>(creator->createPlugin("node", fields, TensorRTPhase::kBUILD)));
}

using Plugin = humar::MsDeformAttnPlugin;

void test_identity()
{
    auto const plugin = create<Plugin>(nullptr);
    auto* const core = static_cast<IPluginV3OneCore*>(plugin->getCapabilityInterface(PluginCapabilityType::kCORE));
    CHECK(std::string(core->getPluginName()) == "MultiscaleDeformableAttnPlugin_TRT");
    CHECK(std::string(core->getPluginVersion()) == "1");
    CHECK(std::string(core->getPluginNamespace()) == "humar");
    CHECK(plugin->getCapabilityInterface(PluginCapabilityType::kBUILD) == static_cast<IPluginV3OneBuild*>(plugin.get()));
    CHECK(plugin->getCapabilityInterface(PluginCapabilityType::kRUNTIME)
        == static_cast<IPluginV3OneRuntime*>(plugin.get()));
    CHECK(humar_register_plugins() == 1);
    CHECK(registry.last_namespace == "humar");
    CHECK(humar_register_plugins() == 0);
}

void test_fields_survive_a_round_trip()
{
    std::int32_t const on = 1;
    std::int64_t const wide = 1;
    std::int32_t const wrong = 2;
    PluginField const other("plugin_version", "1", PluginFieldType::kINT32, 1);
    PluginField const narrow_fields[] = {other, {"fused_softmax", &on, PluginFieldType::kINT32, 1}};
    PluginField const wide_fields[] = {{"fused_softmax", &wide, PluginFieldType::kINT64, 1}};
    PluginField const wrong_fields[] = {{"fused_softmax", &wrong, PluginFieldType::kINT32, 1}};
    PluginField const float_fields[] = {{"fused_softmax", &on, PluginFieldType::kFLOAT32, 1}};
    PluginFieldCollection const narrow = {2, narrow_fields};
    PluginFieldCollection const from_wide = {1, wide_fields};
    PluginFieldCollection const refused[] = {{1, wrong_fields}, {1, float_fields}};

    auto plugin = create<Plugin>(&narrow);
    CHECK(std::string(plugin->getTimingCacheID()) == "softmax");
    std::unique_ptr<Plugin> copy(static_cast<Plugin*>(plugin->clone()));
    plugin.reset();  // the copy's field must not point into the original
    std::unique_ptr<Plugin> attached(static_cast<Plugin*>(copy->attachToContext(nullptr)));
    copy.reset();
    PluginFieldCollection const* const stored = attached->getFieldsToSerialize();
    CHECK(stored->nbFields == 1);
    CHECK(*static_cast<std::int32_t const*>(stored->fields[0].data) == 1);
    CHECK(std::string(create<Plugin>(stored)->getTimingCacheID()) == "softmax");
    CHECK(std::string(create<Plugin>(&from_wide)->getTimingCacheID()) == "softmax");
    CHECK(std::string(create<Plugin>(nullptr)->getTimingCacheID()) == "weights");
    for (PluginFieldCollection const& fields : refused)
    {
        logger.last.clear();
        CHECK(create<Plugin>(&fields) == nullptr);
        CHECK(logger.last.find("fused_softmax must be one integer") != std::string::npos);
    }
}

void test_formats()
{
    auto const plugin = create<Plugin>(nullptr);
    auto const accepted = [&](DataType value, DataType weight, std::int32_t broken, DataType type, TensorFormat format) {
        auto tensors = dynamic(describe(value, weight));
        if (broken >= 0)
        {
            tensors[broken].desc.type = type;
            tensors[broken].desc.format = format;
        }
        bool all = true;
        for (std::int32_t i = 0; i < 6; ++i)
        {
            all = all && plugin->supportsFormatCombination(i, tensors.data(), 5, 1);
        }
        return all;
    };
    auto const type_of = [&](std::int32_t tensor, DataType type) {
        return accepted(DataType::kHALF, DataType::kHALF, tensor, type, TensorFormat::kLINEAR);
    };
    CHECK(accepted(DataType::kFLOAT, DataType::kFLOAT, -1, DataType::kFLOAT, TensorFormat::kLINEAR));
    CHECK(accepted(DataType::kHALF, DataType::kHALF, -1, DataType::kFLOAT, TensorFormat::kLINEAR));
    CHECK(accepted(DataType::kHALF, DataType::kFLOAT, -1, DataType::kFLOAT, TensorFormat::kLINEAR));
    CHECK(!accepted(DataType::kFLOAT, DataType::kHALF, -1, DataType::kFLOAT, TensorFormat::kLINEAR));
    CHECK(!accepted(DataType::kHALF, DataType::kHALF, 0, DataType::kHALF, TensorFormat::kCHW2));
    CHECK(!type_of(0, DataType::kINT8));
    CHECK(!type_of(1, DataType::kFLOAT));
    CHECK(!type_of(2, DataType::kFLOAT));
    CHECK(!type_of(3, DataType::kHALF));  // locations stay FP32
    CHECK(!type_of(5, DataType::kFLOAT));
    DataType const inputs[] = {
        DataType::kHALF, DataType::kINT32, DataType::kINT32, DataType::kFLOAT, DataType::kFLOAT};
    DataType output = DataType::kINT8;
    CHECK(plugin->getOutputDataTypes(&output, 1, inputs, 5) == 0);
    CHECK(output == DataType::kHALF);
    CHECK(plugin->getOutputDataTypes(&output, 1, inputs, 4) != 0);
}

void test_shapes()
{
    auto const plugin = create<Plugin>(nullptr);
    IDimensionExpr marks[6];
    DimsExprs inputs[5] = {};
    std::int32_t const ranks[] = {4, 2, 1, 6, 5};
    for (std::int32_t i = 0; i < 5; ++i)
    {
        inputs[i].nbDims = ranks[i];
        for (std::int32_t axis = 0; axis < ranks[i]; ++axis)
        {
            inputs[i].d[axis] = &marks[i == 3 ? 5 : axis];
        }
    }
    DimsExprs output = {};
    IExprBuilder builder;
    CHECK(plugin->getOutputShapes(inputs, 5, nullptr, 0, &output, 1, builder) == 0);
    CHECK(output.nbDims == 4);
    CHECK(output.d[0] == &marks[0] && output.d[1] == &marks[5] && output.d[2] == &marks[2]);
    CHECK(output.d[3] == &marks[3]);
    inputs[3].nbDims = 5;
    CHECK(plugin->getOutputShapes(inputs, 5, nullptr, 0, &output, 1, builder) != 0);

    auto descs = describe(DataType::kFLOAT, DataType::kFLOAT);
    CHECK(plugin->onShapeChange(descs.data(), 5, &descs[5], 1) == 0);
    auto flexible = dynamic(descs);
    for (std::int32_t const tensor : {0, 3, 4, 5})
    {
        flexible[tensor].desc.dims.d[0] = -1;
    }
    flexible[3].desc.dims.d[1] = -1;  // the others' query count is known: still no contradiction
    CHECK(plugin->configurePlugin(flexible.data(), 5, &flexible[5], 1) == 0);
    flexible[4].desc.dims.d[2] = 5;
    CHECK(plugin->configurePlugin(flexible.data(), 5, &flexible[5], 1) != 0);
    CHECK(logger.last.find("the heads of weights and locations differ: 5 and 2") != std::string::npos);
    // Every axis of every tensor is tied to another tensor or to the number 2, except S.
    for (std::size_t tensor = 0; tensor < descs.size(); ++tensor)
    {
        for (std::int32_t axis = 0; axis < descs[tensor].dims.nbDims; ++axis)
        {
            auto broken = descs;
            broken[tensor].dims.d[axis] += 1;
            bool const free_axis = tensor == 0 && axis == 1;
            CHECK((plugin->onShapeChange(broken.data(), 5, &broken[5], 1) == 0) == free_axis);
        }
    }
    Finder finder;
    setLoggerFinder(&finder);
    descs[0].dims.nbDims = 3;
    CHECK(plugin->onShapeChange(descs.data(), 5, &descs[5], 1) != 0);
    CHECK(finder.recorder.last.find("tensor 0 must have 4 dimensions, got 3") != std::string::npos);
    setLoggerFinder(nullptr);
}

void test_enqueue()
{
    std::int32_t const on = 1;
    PluginField const field("fused_softmax", &on, PluginFieldType::kINT32, 1);
    PluginFieldCollection const fields = {1, &field};
    std::vector<float> value(2 * 8 * 2 * 4);
    std::vector<float> locations(2 * 3 * 2 * 2 * 2 * 2);
    std::vector<float> weights(2 * 3 * 2 * 2 * 2);
    std::int32_t const shapes[] = {2, 3, 1, 2};
    std::int32_t const starts[] = {0, 6};
    for (std::size_t i = 0; i < value.size(); ++i)
    {
        value[i] = static_cast<float>(i % 13) - 6;
    }
    for (std::size_t i = 0; i < locations.size(); ++i)
    {
        locations[i] = static_cast<float>(i % 11) / 9 - 0.1F;
    }
    for (std::size_t i = 0; i < weights.size(); ++i)
    {
        weights[i] = static_cast<float>(i % 5) / 3;
    }
    HumarMsdaSize const size = {2, 8, 2, 4, 2, 3, 2};
    for (std::int32_t const softmax : {0, 1})
    {
        std::vector<float> expected(2 * 3 * 2 * 4);
        std::vector<float> actual(expected.size());
        CHECK(humar_msda_cpu(&size, HUMAR_MSDA_FLOAT, value.data(), shapes, starts, locations.data(), HUMAR_MSDA_FLOAT,
                  weights.data(), softmax, expected.data())
            == HUMAR_MSDA_OK);
        auto const plugin = create<Plugin>(softmax != 0 ? &fields : nullptr);
        auto descs = describe(DataType::kFLOAT, DataType::kFLOAT);
        void const* const inputs[] = {value.data(), shapes, starts, locations.data(), weights.data()};
        void* const outputs[] = {actual.data()};
        auto* const stream = reinterpret_cast<cudaStream_t>(&last_stream);
        CHECK(plugin->enqueue(descs.data(), &descs[5], inputs, outputs, nullptr, stream) == 0);
        CHECK(last_stream == stream);
        CHECK(std::memcmp(expected.data(), actual.data(), expected.size() * sizeof(float)) == 0);
        void const* const missing[] = {nullptr, shapes, starts, locations.data(), weights.data()};
        CHECK(plugin->enqueue(descs.data(), &descs[5], missing, outputs, nullptr, stream) != 0);
        CHECK(logger.last.find("a tensor pointer is null") != std::string::npos);
        descs[3].dims.d[1] = 0;
        CHECK(plugin->enqueue(descs.data(), &descs[5], missing, outputs, nullptr, stream) == 0);
        descs[0].dims.d[1] = std::int64_t{1} << 32;
        descs[3].dims.d[1] = 3;
        CHECK(plugin->enqueue(descs.data(), &descs[5], inputs, outputs, nullptr, stream) != 0);
    }
}

}  // namespace

extern "C" IPluginRegistry* getPluginRegistry() noexcept
{
    return &registry;
}

extern "C" ILogger* getLogger() noexcept
{
    return &logger;
}

extern "C" std::int32_t humar_msda_cuda(HumarMsdaSize const* size, std::int32_t value_type, void const* value,
    std::int32_t const* spatial_shapes, std::int32_t const* level_start, float const* locations,
    std::int32_t weight_type, void const* weights, std::int32_t fused_softmax, void* output, void* stream)
{
    last_stream = stream;
    return humar_msda_cpu(size, value_type, value, spatial_shapes, level_start, locations, weight_type, weights,
        fused_softmax, output);
}

int main()
{
    test_identity();
    test_fields_survive_a_round_trip();
    test_formats();
    test_shapes();
    test_enqueue();
    return failures == 0 ? 0 : 1;
}
