"""Writes a model file anew with every quantised tensor as 16-bit floats: `widen.py FROM TO`.

The prebuilt server's kernels for quantised tensors use AVX-VNNI, which not every processor has; those for floats do not.
"""

import sys

import numpy
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize

FILE_TYPE_MOSTLY_F16 = 1


def main(source, target):
    reader = GGUFReader(source)
    writer = GGUFWriter(target, reader.get_field("general.architecture").contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        value = FILE_TYPE_MOSTLY_F16 if field.name == "general.file_type" else field.contents()
        writer.add_key_value(field.name, value, kind, field.types[-1] if kind == GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        is_float = tensor.tensor_type == GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, tensor.data if is_float else dequantize(tensor.data, tensor.tensor_type).astype(numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main(*sys.argv[1:])
