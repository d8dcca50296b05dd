// A plugin for TensorRT 10 and newer: y = scale * x + shift, for float32. Compiled by test_plugin.py.
#include <NvInfer.h>
#include <NvInferPlugin.h>
#include <cuda_runtime.h>

#include <string>
#include <vector>

using namespace nvinfer1;

__global__ void affine(float const* x, float* y, long count, float scale, float shift)
{
    long const index = blockIdx.x * static_cast<long>(blockDim.x) + threadIdx.x;
    if (index < count)
    {
        y[index] = scale * x[index] + shift;
    }
}

class Affine final : public IPluginV3, public IPluginV3OneCore, public IPluginV3OneBuild, public IPluginV3OneRuntime
{
public:
    Affine(float scale, float shift)
        : mScale(scale)
        , mShift(shift)
    {
    }

    IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override
    {
        switch (type)
        {
        case PluginCapabilityType::kBUILD: return static_cast<IPluginV3OneBuild*>(this);
        case PluginCapabilityType::kRUNTIME: return static_cast<IPluginV3OneRuntime*>(this);
        default: return static_cast<IPluginV3OneCore*>(this);
        }
    }

    IPluginV3* clone() noexcept override
    {
        return new Affine(mScale, mShift);
    }

    AsciiChar const* getPluginName() const noexcept override
    {
        return "Affine";
    }

    AsciiChar const* getPluginVersion() const noexcept override
    {
        return "1";
    }

    AsciiChar const* getPluginNamespace() const noexcept override
    {
        return "";
    }

    int32_t getNbOutputs() const noexcept override
    {
        return 1;
    }

    int32_t configurePlugin(DynamicPluginTensorDesc const*, int32_t, DynamicPluginTensorDesc const*, int32_t) noexcept override
    {
        return 0;
    }

    bool supportsFormatCombination(int32_t place, DynamicPluginTensorDesc const* tensors, int32_t, int32_t) noexcept override
    {
        return tensors[place].desc.type == DataType::kFLOAT && tensors[place].desc.format == PluginFormat::kLINEAR;
    }

    int32_t getOutputDataTypes(DataType* types, int32_t, DataType const* inputs, int32_t) const noexcept override
    {
        types[0] = inputs[0];
        return 0;
    }

    int32_t getOutputShapes(DimsExprs const* inputs, int32_t, DimsExprs const*, int32_t, DimsExprs* outputs, int32_t,
        IExprBuilder&) noexcept override
    {
        outputs[0] = inputs[0];
        return 0;
    }

    int32_t onShapeChange(PluginTensorDesc const*, int32_t, PluginTensorDesc const*, int32_t) noexcept override
    {
        return 0;
    }

    IPluginV3* attachToContext(IPluginResourceContext*) noexcept override
    {
        return clone();
    }

    PluginFieldCollection const* getFieldsToSerialize() noexcept override
    {
        mFields = {PluginField{"scale", &mScale, PluginFieldType::kFLOAT32, 1},
            PluginField{"shift", &mShift, PluginFieldType::kFLOAT32, 1}};
        mCollection = {static_cast<int32_t>(mFields.size()), mFields.data()};
        return &mCollection;
    }

    int32_t enqueue(PluginTensorDesc const* inputs, PluginTensorDesc const*, void const* const* x, void* const* y, void*,
        cudaStream_t stream) noexcept override
    {
        long count = 1;
        for (int32_t axis = 0; axis < inputs[0].dims.nbDims; ++axis)
        {
            count *= inputs[0].dims.d[axis];
        }
        affine<<<(count + 255) / 256, 256, 0, stream>>>(
            static_cast<float const*>(x[0]), static_cast<float*>(y[0]), count, mScale, mShift);
        return cudaGetLastError() == cudaSuccess ? 0 : 1;
    }

private:
    float mScale;
    float mShift;
    std::vector<PluginField> mFields;
    PluginFieldCollection mCollection{};
};

class AffineCreator final : public IPluginCreatorV3One
{
public:
    AffineCreator()
    {
        mFields = {PluginField{"scale", nullptr, PluginFieldType::kFLOAT32, 1},
            PluginField{"shift", nullptr, PluginFieldType::kFLOAT32, 1}};
        mCollection = {static_cast<int32_t>(mFields.size()), mFields.data()};
    }

    IPluginV3* createPlugin(AsciiChar const*, PluginFieldCollection const* fields, TensorRTPhase) noexcept override
    {
        float scale = 1.0F;
        float shift = 0.0F;
        for (int32_t index = 0; index < fields->nbFields; ++index)
        {
            auto const& field = fields->fields[index];
            auto& value = std::string(field.name) == "scale" ? scale : shift;
            value = *static_cast<float const*>(field.data);
        }
        return new Affine(scale, shift);
    }

    PluginFieldCollection const* getFieldNames() noexcept override
    {
        return &mCollection;
    }

    AsciiChar const* getPluginName() const noexcept override
    {
        return "Affine";
    }

    AsciiChar const* getPluginVersion() const noexcept override
    {
        return "1";
    }

    AsciiChar const* getPluginNamespace() const noexcept override
    {
        return "";
    }

private:
    std::vector<PluginField> mFields;
    PluginFieldCollection mCollection{};
};

REGISTER_TENSORRT_PLUGIN(AffineCreator);
