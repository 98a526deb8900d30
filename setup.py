"""Finds the packages; everything else is in pyproject.toml.

The pipeline's stages are top-level folders of the repository and sub-packages of `humar_edge` when installed.
setuptools cannot search such a layout from pyproject.toml, and a list written by hand forgets packages.
"""

from __future__ import annotations

from setuptools import find_packages, setup

FOLDERS = {
    "humar_edge": "humar_edge",
    "humar_edge.export": "export",
    "humar_edge.calibration": "calibration",
    "humar_edge.runtime": "runtime",
    "humar_edge.demos": "demos",
}

setup(
    package_dir=FOLDERS,
    packages=[
        package
        for name, folder in FOLDERS.items()
        for package in (name, *(f"{name}.{below}" for below in find_packages(folder)))
    ],
)
