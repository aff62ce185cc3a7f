"""Kills pyexp, or fails a system call of it, at every point where it changes something, and looks at what is left.

    python -m torture            every point of every command, a table of results (``make torture``)
    python -m torture add push   only those

``injector`` counts and strikes inside the process, ``forks`` starts commands without paying for Python's start,
``facts`` reads a project's state by its own means and checks it, ``cases`` is the table of commands, ``walk`` walks.
"""
