"""Files: safetensors with checksums, checkpoints, and text and JSON that are written whole or not at all."""

from gpunet.io.checkpoint import load_checkpoint, save_checkpoint
from gpunet.io.files import write_json, write_text_atomic
from gpunet.io.safetensors import load_file, save_file

__all__ = [
    "load_checkpoint",
    "load_file",
    "save_checkpoint",
    "save_file",
    "write_json",
    "write_text_atomic",
]
