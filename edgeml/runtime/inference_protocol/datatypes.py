"""The protocol's tensor datatypes ("FP32") and the names numpy has for them."""

NUMPY_NAMES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BF16": "bfloat16",
    "BYTES": "str",
}
DATATYPES = {name: datatype for datatype, name in NUMPY_NAMES.items()} | {"object": "BYTES"}
"""Datatypes by a TensorSpec's dtype."""


def config_type(datatype: str) -> str:
    """What a model's configuration calls a datatype ("FP32" -> "TYPE_FP32")."""
    return f"TYPE_{'STRING' if datatype == 'BYTES' else datatype}"
