raise RuntimeError("imported, although its contract is not spoken")
