"""From encoded images to arrays of unsigned bytes, as a data set's inputs declare it.

`geometry` knows sizes only, `decoding` and `resampling` make pixels; Pillow is imported when a file is opened.
"""
