"""Runs LiteRT's own TFLite_Detection_PostProcess for benches/litert.rs, which starts this and talks to it by lines.

Needs the packages ai-edge-litert, numpy and flatbuffers. The argument is a file of little-endian f32: the anchors,
then boxes and probabilities of each picture. A line `regular 0.01 4` asks for four rounds over the pictures; the answer
is the median of a call in microseconds and how many detections a round finds.
"""

import sys
import time

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import flexbuffers

ANCHORS, CLASSES = 1917, 90
COLUMNS = CLASSES + 1


def options(regular, threshold):
    values = {"max_detections": 100, "max_classes_per_detection": 1, "detections_per_class": 100,
              "use_regular_nms": regular, "nms_score_threshold": threshold, "nms_iou_threshold": 0.6,
              "num_classes": CLASSES, "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, value in values.items():
            builder.Key(key)
            {bool: builder.Bool, int: builder.Int, float: builder.Float}[type(value)](value)
    return list(builder.Finish())


def one_op_model(regular, threshold):
    def tensor(name, shape):
        one = schema.TensorT()
        one.name, one.shape, one.type, one.buffer = name, shape, schema.TensorType.FLOAT32, 0
        return one

    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = 0, [0, 1, 2], [3, 4, 5, 6]
    op.customOptions = options(regular, threshold)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = "TFLite_Detection_PostProcess", 1
    graph = schema.SubGraphT()
    graph.tensors = [tensor("boxes", [1, ANCHORS, 4]), tensor("scores", [1, ANCHORS, COLUMNS]),
                     tensor("anchors", [ANCHORS, 4]), tensor("found", [1, 100, 4]), tensor("classes", [1, 100]),
                     tensor("probabilities", [1, 100]), tensor("count", [1])]
    graph.inputs, graph.outputs, graph.operators = [0, 1, 2], [3, 4, 5, 6], [op]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def main():
    numbers = np.fromfile(sys.argv[1], "<f4")
    anchors, rest = numbers[:4 * ANCHORS].reshape(ANCHORS, 4), numbers[4 * ANCHORS:]
    each = ANCHORS * (4 + COLUMNS)
    pictures = [(one[:4 * ANCHORS].reshape(1, ANCHORS, 4), one[4 * ANCHORS:].reshape(1, ANCHORS, COLUMNS))
                for one in rest.reshape(-1, each)]
    interpreters = {}
    print("ready", flush=True)
    for line in sys.stdin:
        mode, threshold, rounds = line.split()
        if (mode, threshold) not in interpreters:
            one = Interpreter(model_content=one_op_model(mode == "regular", float(threshold)), num_threads=1)
            one.allocate_tensors()
            interpreters[mode, threshold] = one
        interpreter = interpreters[mode, threshold]
        inputs = [one["index"] for one in interpreter.get_input_details()]
        count = interpreter.get_output_details()[3]["index"]
        times, found = [], 0
        for turn in range(int(rounds)):
            for boxes, scores in pictures:
                for index, array in zip(inputs, (boxes, scores, anchors)):
                    interpreter.set_tensor(index, array)
                begun = time.perf_counter_ns()
                interpreter.invoke()
                times.append(time.perf_counter_ns() - begun)
                if turn == 0:
                    found += int(interpreter.get_tensor(count)[0])
        print(np.median(times) / 1e3, found, flush=True)


main()
