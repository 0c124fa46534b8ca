"""Version and build date; pyproject.toml says the same version (a test compares them)."""

VERSION = "0.1.0"
BUILT = "Nov 23 2026"
