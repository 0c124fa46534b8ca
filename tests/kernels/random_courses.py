"""Courses in time for tests of their evidence."""


def random_courses(rng, n, quick):
    """Courses of ``n`` coefficients, of the last ``quick`` of which the data say little, each by itself."""
    root = rng.normal(size=(7, n, n + 3))
    root[:, n - quick :] = 0
    data = root @ root.swapaxes(1, 2)
    data[:, range(n - quick, n), range(n - quick, n)] = 1e-7
    return data, rng.normal(0, 3, (7, n, 2)), rng.uniform(0.1, 5, (7, 2, n))
