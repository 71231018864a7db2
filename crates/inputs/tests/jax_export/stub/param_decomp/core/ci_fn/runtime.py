"""Stands in for the code's own module of this name."""


def evaluate_ci_from_captures(ci_fn, captures, conditioning, components, *, sequence, remat):
    return ci_fn(captures, conditioning, components, sequence=sequence, remat=remat)
