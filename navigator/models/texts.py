"""Which models have text as inputs or outputs, and what can't be made of them. Pure."""

from navigator.records import TEXT, Description, Format

TEXT_ADVICE = "keep text processing out of the model: save a signature that takes and returns numbers"


def text_in_signature(kind: str, name: str, signature_name: str) -> str:
    """Return why a SavedModel with text in its signature can't be converted; `kind` is input or output."""
    return f"{kind} {name!r} of signature {signature_name!r} is text (tf.string), which can't be converted or compared"


def text_in(described: Description) -> str:
    """Return why a model's text keeps it from all conversions, or "": only ONNX models may have any."""
    if described.model_format is Format.TF_SAVEDMODEL:
        for kind, specs in (("input", described.inputs), ("output", described.outputs)):
            for name in (spec.name for spec in specs or () if spec.dtype == TEXT):
                return text_in_signature(kind, name, described.signature_name)
    return ""


def text_for_engines(described: Description) -> str:
    """Return why no engine can be made of an ONNX model with text, or ""."""
    if described.model_format is not Format.ONNX:
        return ""
    for kind, specs in (("input", described.inputs), ("output", described.outputs)):
        for name in (spec.name for spec in specs or () if spec.dtype == TEXT):
            return f"TensorRT computes with numbers only, and {kind} {name} is text"
    return ""
