"""Content-addressed bytes: hashes, manifests, stores, and the way between a store and a directory of files.

Knows nothing of stages, projects or git.
"""
