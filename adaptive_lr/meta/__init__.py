"""Learned damping: from gradients through training, from evolution over tasks, from earlier runs, from recorded curves and from theory.

The public names stand in ``__init__.pyi``; each is imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
