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

# Detectors in small: what they answer follows from the brightest pixel, so tests know it.
numbers = h.make_tensor
share = [h.make_node("ReduceMax", ["pixels"], ["brightest"], keepdims=0),
         h.make_node("Div", ["brightest", "most"], ["share"])]


def detector(name, nodes, constants, inputs, outputs):
    graph = h.make_graph(nodes, name, [h.make_tensor_value_info(*i) for i in inputs],
                         [h.make_tensor_value_info(*o) for o in outputs], constants)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 16)], ir_version=8)
    model.producer_name = ""
    save(model, HERE / f"{name}.onnx")


# As the TF Object Detection API writes them, outputs in an odd order: three slots, of which two are used. The first
# scores the brightest pixel's share of 255.
detector("tfod_detections",
         [h.make_node("Shape", ["image_tensor"], ["size"], start=0, end=1),
          h.make_node("Cast", ["image_tensor"], ["pixels"], to=T.FLOAT)] + share
         + [h.make_node("Concat", ["size", "three_four"], ["boxes_shape"], axis=0),
            h.make_node("Concat", ["size", "three"], ["slots_shape"], axis=0),
            h.make_node("Unsqueeze", ["share", "zero"], ["first"]),
            h.make_node("Concat", ["first", "others"], ["row"], axis=0),
            h.make_node("Expand", ["row", "slots_shape"], ["scores"]),
            h.make_node("Expand", ["boxes", "boxes_shape"], ["all_boxes"]),
            h.make_node("Expand", ["classes", "slots_shape"], ["all_classes"]),
            h.make_node("Expand", ["count", "size"], ["all_counts"])],
         [numbers("most", T.FLOAT, [], [255.0]), numbers("three_four", T.INT64, [2], [3, 4]),
          numbers("three", T.INT64, [1], [3]), numbers("zero", T.INT64, [1], [0]),
          numbers("others", T.FLOAT, [2], [0.25, 0.75]),
          numbers("boxes", T.FLOAT, [1, 3, 4], [0.0, 0.25, 0.5, 0.75, 0.1, 0.1, 0.9, 0.9, 7, 7, 7, 7]),
          numbers("classes", T.FLOAT, [1, 3], [18.0, 1.0, -5.0]), numbers("count", T.FLOAT, [1], [2.0])],
         [("image_tensor", T.UINT8, ["batch", None, None, 3])],
         [("all_counts", T.FLOAT, ["batch"]), ("scores", T.FLOAT, ["batch", 3]),
          ("all_classes", T.FLOAT, ["batch", 3]), ("all_boxes", T.FLOAT, ["batch", 3, 4])])

# As Faster and Mask R-CNN exports: one picture without a batch axis, as many slots as scores reach a half, pixels,
# labels that count background, and masks that nobody reads.
detector("rcnn_detections",
         share + [h.make_node("Unsqueeze", ["share", "zero"], ["first"]),
                  h.make_node("Concat", ["others", "first"], ["all"], axis=0),
                  h.make_node("GreaterOrEqual", ["all", "half"], ["stays"]),
                  h.make_node("Compress", ["all", "stays"], ["scores"], axis=0),
                  h.make_node("Compress", ["pixel_boxes", "stays"], ["boxes"], axis=0),
                  h.make_node("Compress", ["ids", "stays"], ["labels"], axis=0),
                  h.make_node("Compress", ["all_masks", "stays"], ["masks"], axis=0)],
         [numbers("most", T.FLOAT, [], [1.0]), numbers("zero", T.INT64, [1], [0]),
          numbers("others", T.FLOAT, [2], [0.25, 0.75]), numbers("half", T.FLOAT, [], [0.5]),
          numbers("pixel_boxes", T.FLOAT, [3, 4], [0, 0, 8, 4, 2, 1, 4, 3, 0, 0, 4, 4]),
          numbers("ids", T.INT64, [3], [1, 12, 2]),
          numbers("all_masks", T.FLOAT, [3, 1, 2, 2], [0.5] * 12)],
         [("pixels", T.FLOAT, [3, 4, 8])],
         [("masks", T.FLOAT, ["found", 1, 2, 2]), ("labels", T.INT64, ["found"]), ("scores", T.FLOAT, ["found"]),
          ("boxes", T.FLOAT, ["found", 4])])

# Raw heads of an SSD with three anchors, which the graph keeps, and two classes behind a background. The first anchor
# is surest of the first class, the second, on the same place, of the second.
detector("ssd_heads",
         [h.make_node("Shape", ["pixels"], ["size"], start=0, end=1)] + share
         + [h.make_node("Concat", ["size", "three_four"], ["boxes_shape"], axis=0),
            h.make_node("Concat", ["size", "three_three"], ["scores_shape"], axis=0),
            h.make_node("Expand", ["nothing", "boxes_shape"], ["raw_boxes"]),
            h.make_node("Mul", ["sureness", "share"], ["sure"]),
            h.make_node("Expand", ["sure", "scores_shape"], ["raw_scores"])],
         [numbers("most", T.FLOAT, [], [255.0]), numbers("three_four", T.INT64, [2], [3, 4]),
          numbers("three_three", T.INT64, [2], [3, 3]), numbers("nothing", T.FLOAT, [1, 3, 4], [0.0] * 12),
          numbers("sureness", T.FLOAT, [1, 3, 3], [0.0, 0.9, 0.1, 0.0, 0.2, 0.8, 0.0, 0.1, 0.4]),
          numbers("anchors", T.FLOAT, [3, 4], [0.25, 0.25, 0.5, 0.5, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 0.5, 0.5])],
         [("pixels", T.FLOAT, ["batch", 4, 4, 3])],
         [("raw_boxes", T.FLOAT, ["batch", 3, 4]), ("raw_scores", T.FLOAT, ["batch", 3, 3])])
