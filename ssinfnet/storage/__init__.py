"""Files: those of others measured before they are read, ours written whole or not at all."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules=["strict_yaml", "untrusted", "artifacts", "written_files", "provenance"]
)
