"""Writes corpus.npz: small MXNet networks with what MXNet computes. Run by hand where mxnet 1.9.1 is installed.

    python -m tests.frontends.mxnet.make_corpus
"""
from tests.frontends.mxnet import corpus_layers, corpus_networks, corpus_tensors
from tests.frontends.mxnet.recording import WRITER

if __name__ == "__main__":
    for part in (corpus_layers, corpus_tensors, corpus_networks):
        part.write()
    WRITER.save()
