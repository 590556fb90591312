"""Recognises by its first bytes a file that was given as an ONNX model and has another format."""

from __future__ import annotations

_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs", "a git-lfs pointer, not the model itself", "run `git lfs pull`"),
    (0, b"PK\x03\x04", "a zip archive (a PyTorch checkpoint or program, an .npz or a .keras file)",
     "export it to ONNX; a program saved by torch.export can be given with `parser: pytorch`"),
    (0, b"\x80\x02", "a Python pickle (an old PyTorch checkpoint)", "export it to ONNX"),
    (0, b"\x80\x03", "a Python pickle", "export it to ONNX"),
    (0, b"\x80\x04", "a Python pickle", "export it to ONNX"),
    (0, b"\x80\x05", "a Python pickle", "export it to ONNX"),
    (0, b"\x89HDF", "an HDF5 file (Keras)", "export it to ONNX"),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (0, b"ptrt", "a TensorRT engine", "give the model that it was built from"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it to ONNX"),
    (4, b"ORTM", "an ONNX Runtime .ort file", "give the .onnx file that it was made from"),
)  # fmt: skip


def foreign_format(head: bytes) -> tuple[str, str] | None:
    """The format of a file that begins with `head`, and the remedy; None if it may be ONNX."""
    for offset, magic, what, remedy in _SIGNATURES:
        if head[offset : offset + len(magic)] == magic:
            return what, remedy
    start = head.lstrip()[:1]
    if start in (b"<", b"{", b"[") and _is_text(head):
        return {b"<": "an HTML or XML page", b"{": "JSON text", b"[": "JSON text"}[start], _DOWNLOAD
    if _is_text(head):
        return "a text file", _DOWNLOAD
    return None


_DOWNLOAD = "download the model again, or export it to ONNX"


def _is_text(head: bytes) -> bool:
    return bool(head) and all(byte in b"\t\n\r\f" or 32 <= byte < 127 for byte in head)
