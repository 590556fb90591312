"""The `network` frontend: layers declared in the spec's own options, with TensorRT's names; there is no source.

Finds the weights files; the layers are lowered in `layers/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.frontends import ModelFiles, Proposal
from trtpipe.spec.network.network import NetworkOptions

if TYPE_CHECKING:
    import onnx


class NetworkFrontend:
    """Reads declared layers."""

    name = "network"
    version = 2
    Options = NetworkOptions
    needs_source = False
    takes_directory = False
    companion = ""
    packages: tuple[str, ...] = ()
    extra = ""

    def belonging(self, files: ModelFiles, options: NetworkOptions) -> list[Path]:
        """The external data of weights that are an ONNX model. Raises ModelError."""
        from trtpipe.layers.network import weight_files
        from trtpipe.weights import files_beside

        weights = weight_files(files.named).values()
        return [path for file in weights for path in files_beside(file, root=files.root)]

    def read(self, files: ModelFiles, options: NetworkOptions, workplace: Path) -> onnx.ModelProto:
        """The network as ONNX. Raises ModelError with every layer's problem at its place in the options."""
        from trtpipe.layers.network import lower_network, weight_files

        named = weight_files(files.named)
        return lower_network(options, named, root=files.root, workplace=workplace).model

    def propose(self, path: Path) -> Proposal | None:
        """None, because weights alone do not define a network."""
        return None


frontend = NetworkFrontend()
