"""Spoiled files, led by what they reach in the readers (needs ``pip install atheris``; see docs/faults.md).

``fuzz_atheris.py TARGET CORPUS [OPTIONS]``: TARGET is one of those below, CORPUS a folder for what was found
to be of interest, which a later call goes on from; options are libFuzzer's, as -max_total_time=600. It ends
at the first file that is neither read nor refused in a sentence, and leaves that file as crash-….
"""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

TARGETS = {
    **{"networks": r"(networks|older)\.safetensors", "checkpoint": r"checkpoint\.safetensors"},
    **{"run": r"run\.yaml", "log": r"log\.jsonl", "evidence": r"evidence\.json"},
    **{"table": r"table\.csv", "pairs": r"pairs\.csv", "npy": r"a\.npy", "npz": r"(a|packed)\.npz"},
    **{"idx": r"images-idx3-ubyte", "tar": r"a\.tar", "parquet": r".*\.parquet"},
    **{"transform": r"transform\.(tfm|txt)", "plain": r"transform\.json"},
    **{"png": r".*\.png", "jpeg": r".*\.jpe?g", "tiff": r".*\.tif", "nifti": r".*\.nii"},
    **{"nrrd": r".*\.nrrd", "meta": r".*\.mha"},
}
"""Name → files to begin with; all are read under the name of the last."""
INSTRUMENTED = ["counterpoint", "tifffile", "tarfile", "zipfile", "gzip", "yaml", "numpy.lib.format"]
"""Packages in Python in which the search sees where it got to."""


def main() -> None:
    """See above."""
    import atheris  # pyright: ignore[reportMissingImports]

    target, corpus, *options = sys.argv[1:]
    instrumented = atheris.instrument_imports(include=INSTRUMENTED)  # pyright: ignore[reportAttributeAccessIssue]
    with TemporaryDirectory() as folder, instrumented:
        import hostile

        from counterpoint.core.errors import InputError

        path = Path(folder)
        for name, data in (hostile.images() | hostile.others()).items():
            if name == "gray.png":  # which tables name
                for each in ("a.png", "b.png"):
                    Path(folder, each).write_bytes(data)
            if re.fullmatch(TARGETS[target], name):
                Path(corpus).mkdir(parents=True, exist_ok=True)
                Path(corpus, name).write_bytes(data)
                path = Path(folder, name)
                path.write_bytes(data)
                hostile.read(path)  # so that all that is imported late is seen, too

        def one(data: bytes) -> None:
            path.write_bytes(data)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    hostile.read(path)
                except InputError as error:
                    said = str(error)
                    assert said and "\n" not in said and len(said) < 1000, said

        atheris.Setup(["", corpus, "-timeout=20", "-rss_limit_mb=6000", *options], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
