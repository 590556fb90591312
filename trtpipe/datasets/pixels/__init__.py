"""Decodes and preprocesses encoded images to uint8 arrays, as a data set's inputs declare.

`geometry` computes sizes only; `decoders` and `resampling` produce pixels. Pillow is imported when a file is opened.
"""
