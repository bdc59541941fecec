"""The version, in one place: the build reads it here and hands it to the C code as CT_VERSION."""

__version__ = "0.1.0"
