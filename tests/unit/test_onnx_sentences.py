"""What ONNX Runtime says, without where in its sources it says it."""

import pytest

from navigator.frameworks.onnx.file import sentence


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            (
                "[ONNXRuntimeError] : 1 : FAIL : tensorprotoutils.cc:1805 ValidateEmbeddedTensorProtoDataSizeAndShape "
                "Initializer 'w': data field count (0) does not match expected count from shape (28224)"
            ),
            "Initializer 'w': data field count (0) does not match expected count from shape (28224)",
        ),
        (
            (
                "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Concat node. "
                "Name:'c' Status Message: concat.cc:159 common::Status onnxruntime::ConcatBase::PrepareForCompute("
                "OpKernelContext *, Prepare &) const Non concat axis dimensions must match"
            ),
            "Concat node 'c': Non concat axis dimensions must match",
        ),
    ],
)
def test_the_reason_is_given_whole(text: str, told: str) -> None:
    assert sentence(RuntimeError(text)) == told
