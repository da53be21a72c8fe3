"""Quantizes float TensorFlow Lite models to 8 bits."""

from __future__ import annotations

from pathlib import Path

from ai_edge_quantizer import quantizer
from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName


def quantize_speaker(source: Path) -> bytes:
    """CAM++ with 8-bit weights; activations are quantized at run time, layer by layer.

    Fully connected layers get a single scale, which is all that tflite-runtime 2.14 supports; the
    network is written so that nothing is lost by it (see `campplus`). Convolutions have one for
    each output.

    Args:
        source: the float model.

    Returns:
        The quantized model file.
    """
    work = quantizer.Quantizer(str(source))
    work.add_dynamic_config(
        regex=".*",
        operation_name=TFLOperationName.FULLY_CONNECTED,
        num_bits=8,
        granularity=QuantGranularity.TENSORWISE,
    )
    work.add_dynamic_config(regex=".*", operation_name=TFLOperationName.CONV_2D, num_bits=8)
    return bytes(work.quantize().quantized_model)


def quantize_phrase(source: Path) -> bytes:
    """The phrase network with 8-bit weights; activations are quantized at run time.

    Args:
        source: the published float model.

    Returns:
        The quantized model file.
    """
    work = quantizer.Quantizer(str(source))
    work.add_dynamic_config(regex=".*", operation_name=TFLOperationName.CONV_2D, num_bits=8)
    return bytes(work.quantize().quantized_model)
