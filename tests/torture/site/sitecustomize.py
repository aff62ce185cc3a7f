"""Arms the workers of a pool under test: they are Pythons of their own, so this is the first thing they run."""

import sys

if "--multiprocessing-fork" in sys.orig_argv or "worker" in sys.orig_argv[1:6]:
    from torture import injector

    injector.arm_worker()
