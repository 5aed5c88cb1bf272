"""Opening a graph with ONNX Runtime on the processor."""

from __future__ import annotations

from typing import Any

ERRORS = 3  # the least severe messages that the runtime prints


def session_of(onnx: bytes, threads: int = 1) -> Any:
    """An `onnxruntime.InferenceSession` of an encoded graph; whatever the runtime raises where it refuses it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
