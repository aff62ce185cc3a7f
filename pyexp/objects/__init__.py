"""Content-addressed bytes: hashing, the object store, directory manifests, checkout. Knows nothing of stages or git."""
