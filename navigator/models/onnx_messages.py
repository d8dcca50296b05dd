"""The messages of onnx.proto (onnx 1.23) that lead to tensors, for those who read ONNX files without onnx."""

from enum import Enum, auto


class Message(Enum):
    """A message that is a tensor, or may hold one."""

    MODEL = auto()
    TRAINING = auto()
    GRAPH = auto()
    FUNCTION = auto()
    NODE = auto()
    ATTRIBUTE = auto()
    SPARSE = auto()
    TENSOR = auto()
    ENTRY = auto()


INSIDE = {
    (Message.MODEL, 7): Message.GRAPH,
    (Message.MODEL, 20): Message.TRAINING,
    (Message.MODEL, 25): Message.FUNCTION,
    (Message.TRAINING, 1): Message.GRAPH,
    (Message.TRAINING, 2): Message.GRAPH,
    (Message.GRAPH, 1): Message.NODE,
    (Message.GRAPH, 5): Message.TENSOR,
    (Message.GRAPH, 15): Message.SPARSE,
    (Message.FUNCTION, 7): Message.NODE,
    (Message.FUNCTION, 11): Message.ATTRIBUTE,
    (Message.NODE, 5): Message.ATTRIBUTE,
    (Message.ATTRIBUTE, 5): Message.TENSOR,
    (Message.ATTRIBUTE, 6): Message.GRAPH,
    (Message.ATTRIBUTE, 10): Message.TENSOR,
    (Message.ATTRIBUTE, 11): Message.GRAPH,
    (Message.ATTRIBUTE, 22): Message.SPARSE,
    (Message.ATTRIBUTE, 23): Message.SPARSE,
    (Message.SPARSE, 1): Message.TENSOR,
    (Message.SPARSE, 2): Message.TENSOR,
    (Message.TENSOR, 13): Message.ENTRY,
}
"""The message in a field, by the message that has the field and the field's number."""
