"""Writes a model file anew with every quantised tensor as 16-bit floats: `widen.py FROM TO [BITS]`.

The prebuilt server's kernels for quantised tensors use AVX-VNNI, which not every processor has; those for floats do not.
With BITS, weights are first rounded to so many bits in blocks of 32: a model that is worse by a known cause.
"""

import sys

import numpy
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize

FILE_TYPE_MOSTLY_F16 = 1
BLOCK = 32


def rounded(weights, bits):
    """The nearest of 2^bits - 1 evenly spaced values around zero, up to the largest of each block."""
    blocks = weights.reshape(-1, BLOCK)
    step = numpy.abs(blocks).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    step[step == 0] = 1
    return (numpy.round(blocks / step) * step).reshape(weights.shape)


def main(source, target, bits=None):
    reader = GGUFReader(source)
    writer = GGUFWriter(target, reader.get_field("general.architecture").contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        value = FILE_TYPE_MOSTLY_F16 if field.name == "general.file_type" else field.contents()
        writer.add_key_value(field.name, value, kind, field.types[-1] if kind == GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        weights = tensor.data
        if tensor.tensor_type != GGMLQuantizationType.F32:
            weights = dequantize(tensor.data, tensor.tensor_type)
            weights = (rounded(weights, int(bits)) if bits else weights).astype(numpy.float16)
        writer.add_tensor(tensor.name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main(*sys.argv[1:])
