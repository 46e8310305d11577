"""What an ONNX graph must be for its file to be served, and what a graph that is nearly so can be made.

One input, the pictures, any number of them at once; one output, a logit for each picture and class; all weights inside.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from labelloop.errors import TrainingError
from labelloop.types import Choice

EXPORT_FREE = (
    "export it with a free batch size (torch.onnx.export: dynamic_shapes, or dynamic_axes={'input': {0: 'batch'}})"
)
LEAST = {"single": 1e-30, "multiple": 1e-7}
"""The probability below which none is told apart from another."""

_OPSET = 8


def read_graph(source: Path) -> onnx.ModelProto:
    """Read a valid model with all of its weights; raises TrainingError."""
    try:
        model = onnx.load(str(source), load_external_data=False)
        elsewhere = any(tensor.data_location == TensorProto.EXTERNAL for tensor in _tensors(model))
        if not elsewhere:
            onnx.checker.check_model(model)
    except Exception as error:  # protobuf's errors and those of onnx have no common base of their own
        raise TrainingError(
            f"{source.name} is no valid ONNX file ({first_line(error)}): export it again, then adopt that"
        ) from error
    if elsewhere:
        raise TrainingError(
            f"{source.name} keeps weights in another file: save it with all of them inside, as "
            "onnx.save(onnx.load(FILE), NEW) does, and adopt that"
        )
    return model


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield all tensors that a model holds, those of graphs within graphs too."""
    yield from _tensors_of_graph(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(function.node)


def _tensors_of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in (one for node in nodes for one in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for graph in (attribute.g, *attribute.graphs):
            yield from _tensors_of_graph(graph)


def check_input(model: onnx.ModelProto, source: Path, image_size: int) -> tuple[tuple[int, int], bool]:
    """Give height and width of the pictures, and whether any number of them goes at once; raises TrainingError.

    ``image_size`` (0: not known) is the side of pictures whose size the graph leaves free.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs) or "none"
        raise TrainingError(f"{source.name} has {len(inputs)} inputs ({names}): export it with one, the picture")
    kind, shape = inputs[0].type.tensor_type, _shape(inputs[0])
    if kind.elem_type != TensorProto.FLOAT or len(shape) != 4 or shape[1] not in (3, 0):
        told = " x ".join(str(side or "?") for side in shape) or "of no known shape"
        raise TrainingError(
            f"{source.name} takes {TensorProto.DataType.Name(kind.elem_type).lower()} {told}: export it for float "
            "pictures x 3 x height x width"
        )
    if shape[0] not in (0, 1):
        raise TrainingError(f"{source.name} takes exactly {shape[0]} pictures at once: {EXPORT_FREE}")
    height, width = (side or image_size for side in shape[2:])
    if not height or not width:
        raise TrainingError(f"{source.name} takes pictures of any size: say with --image-size which it was trained on")
    if image_size and (height, width) != (image_size, image_size):
        raise TrainingError(
            f"{source.name} takes pictures of {width} x {height} pixels, and --image-size says {image_size}: leave "
            "that out"
        )
    return (height, width), shape[0] == 0


def check_output(model: onnx.ModelProto, source: Path, classes: int) -> None:
    """Raise TrainingError for outputs other than pictures x ``classes``, as far as the graph tells."""
    outputs = model.graph.output
    if len(outputs) != 1:
        names = ", ".join(one.name for one in outputs) or "none"
        raise TrainingError(f"{source.name} has {len(outputs)} outputs ({names}): export it with one, a number a class")
    shape, kind = _shape(outputs[0]), outputs[0].type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        told = TensorProto.DataType.Name(kind).lower()
        raise TrainingError(f"{source.name} gives {told}: export it with float outputs, a number a class")
    if shape and len(shape) != 2:
        told = " x ".join(str(side or "?") for side in shape)
        raise TrainingError(f"{source.name} gives {told}: export it with outputs pictures x classes")
    if shape and shape[1] not in (0, classes):
        raise TrainingError(
            f"{source.name} tells {shape[1]} classes apart, and --classes names {classes}: name all of its classes, in "
            "the order of its outputs"
        )


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    """Give the sides of an input or output; 0 for one that is free."""
    return [max(side.dim_value, 0) for side in value.type.tensor_type.shape.dim]


def append_logits(model: onnx.ModelProto, source: Path, choice: Choice) -> None:
    """Let a graph that ends in probabilities end in logits: their logarithm, or that of their odds."""
    opset = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)
    if opset < _OPSET:
        raise TrainingError(
            f"{source.name} is of ONNX opset {opset}, to which no step can be added: export it with opset {_OPSET} or "
            "newer, or without its last softmax or sigmoid"
        )
    graph, ends = model.graph, model.graph.output[0]
    least, name = LEAST[choice], "labelloop"
    values = {"least": least, "most": 1 - least, "one": 1.0}
    wanted = ("least",) if choice == "single" else tuple(values)
    graph.initializer.extend(
        numpy_helper.from_array(np.array([values[one]], dtype=np.float32), f"{name}.{one}") for one in wanted
    )
    steps: list[tuple[str, list[str], str]] = [("Max", [ends.name, f"{name}.least"], f"{name}.above")]
    if choice == "single":
        steps += [("Log", [f"{name}.above"], f"{name}.logits")]
    else:
        steps += [
            ("Min", [f"{name}.above", f"{name}.most"], f"{name}.share"),
            ("Sub", [f"{name}.one", f"{name}.share"], f"{name}.rest"),
            ("Log", [f"{name}.share"], f"{name}.log_share"),
            ("Log", [f"{name}.rest"], f"{name}.log_rest"),
            ("Sub", [f"{name}.log_share", f"{name}.log_rest"], f"{name}.logits"),
        ]
    graph.node.extend(helper.make_node(kind, inputs, [output]) for kind, inputs, output in steps)
    ends.name = f"{name}.logits"


def cut_last_layer(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Make a graph end in what its last layer takes. Gives that layer as a model of its own, with all that follows it.

    None where no layer has weights of its own, which may be transposed or cast before they are used.
    """
    graph = model.graph
    fixed = _fixed(graph)
    layers = [
        one
        for one in graph.node
        if one.op_type in ("Gemm", "MatMul") and one.input[1] in fixed and one.input[0] not in fixed
    ]
    if not layers:
        return None
    taken = layers[-1].input[0]
    layer = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    layer.graph.name = "last_layer"
    layer.graph.input.append(helper.make_tensor_value_info(taken, TensorProto.FLOAT, None))
    layer.graph.output.extend(graph.output)
    behind = [one for one in graph.node if taken not in one.output]
    nodes, needed = _leading_to([one.name for one in graph.output], behind)
    layer.graph.node.extend(nodes)
    layer.graph.initializer.extend(one for one in graph.initializer if one.name in needed)

    nodes, needed = _leading_to([taken], graph.node)
    unused = {one.name for one in graph.initializer} - needed
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    graph.output.append(onnx.ValueInfoProto(name=taken))
    # Old graphs name their weights among the inputs, too.
    for held in (graph.initializer, graph.input):
        for at in reversed([at for at, one in enumerate(held) if one.name in unused]):
            del held[at]
    return layer


def _fixed(graph: onnx.GraphProto) -> set[str]:
    """Name the values that are the same whatever comes in: weights, and what is made of nothing else."""
    found = {one.name for one in graph.initializer} | {one.values.name for one in graph.sparse_initializer}
    for node in graph.node:
        taken = _taken(node)
        if node.op_type == "Constant" or (taken and taken <= found):
            found.update(node.output)
    return found


def _leading_to(names: Sequence[str], nodes: Sequence[onnx.NodeProto]) -> tuple[list[onnx.NodeProto], set[str]]:
    """Give those of a graph's nodes that these values are made by, in their order, and all names that they take."""
    kept: list[onnx.NodeProto] = []
    needed = set(names)
    for node in reversed(nodes):
        if not needed.isdisjoint(node.output):
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
            needed |= _taken(node)
    return kept[::-1], needed


def _taken(node: onnx.NodeProto) -> set[str]:
    """Name what a node takes, and what the graphs within it take or give."""
    found = set(node.input)
    for graph in (one for attribute in node.attribute for one in (attribute.g, *attribute.graphs)):
        found.update(*map(_taken, graph.node), (one.name for one in graph.output))
    return found - {""}


def free_batch(model: onnx.ModelProto) -> None:
    """Let any number of pictures in where it was one; whether the graph bears that is seen when it is run."""
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in (*(one for one in model.graph.input if one.name not in weights), *model.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.ClearField("value_info")


def first_line(error: Exception) -> str:
    """Give the first line of an error that says anything, at most 300 characters."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
