"""Files that ship with the package: the embedded bundle and the demo clip."""
