"""Tools of the project itself, which need more than the package does; they are not in the wheel."""
