"""Keras: HDF5 files of Keras 2 and 3, and `.keras` archives."""
