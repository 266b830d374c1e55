"""What pyproject.toml cannot say: notebooks and studies lie beside the package and ship in it."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["ssinfnet*"]), "ssinfnet.notebooks", "ssinfnet.studies"],
    package_dir={"ssinfnet.notebooks": "notebooks", "ssinfnet.studies": "studies"},
)
