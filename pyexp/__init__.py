"""pyexp: experiments for machine-learning projects, versioned and reproducible, without git."""

__version__ = "0.1.0"
