"""One of two plugins with one name."""

from corral_acme import Acme

__all__ = ["Acme"]
