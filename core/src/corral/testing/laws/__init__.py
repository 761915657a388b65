"""The laws that every backend keeps, by what they are about; `BackendConformance` has them all."""
