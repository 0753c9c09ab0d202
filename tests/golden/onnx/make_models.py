"""Writes the tiny models beside this file. Needs the `onnx` package, once, on a developer's machine."""

from pathlib import Path

from onnx import TensorProto as T
from onnx import helper as h
from onnx import save

HERE = Path(__file__).parent


def write(name, nodes, inputs, outputs):
    graph = h.make_graph(nodes, name, [h.make_tensor_value_info(*i) for i in inputs],
                         [h.make_tensor_value_info(*o) for o in outputs])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 16)], ir_version=8)
    model.producer_name = ""
    save(model, HERE / f"{name}.onnx")


picture = ["batch", 2, 2, 3]
write("dynamic_batch",
      [h.make_node("Relu", ["picture"], ["relu"]), h.make_node("Neg", ["picture"], ["negative"])],
      [("picture", T.FLOAT, picture)],
      [("relu", T.FLOAT, picture), ("negative", T.FLOAT, picture)])
write("fixed_batch_u8", [h.make_node("Identity", ["picture"], ["same"])],
      [("picture", T.UINT8, [1, 2, 2, 3])], [("same", T.UINT8, [1, 2, 2, 3])])
write("open_output", [h.make_node("NonZero", ["picture"], ["positions"])],
      [("picture", T.FLOAT, [1, 2, 2, 3])], [("positions", T.INT64, [4, "count"])])
write("two_inputs", [h.make_node("Add", ["left", "right"], ["sum"])],
      [("left", T.FLOAT, [1]), ("right", T.FLOAT, [1])], [("sum", T.FLOAT, [1])])
write("half_output", [h.make_node("Cast", ["picture"], ["half"], to=T.FLOAT16)],
      [("picture", T.FLOAT, [1, 2])], [("half", T.FLOAT16, [1, 2])])
