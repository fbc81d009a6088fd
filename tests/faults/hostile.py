"""Small valid files of every kind that is read, how hypothesis spoils them, and bombs.

As a program, ``hostile.py FOLDER`` reads every bomb in FOLDER, and says for each what came of it, the seconds
it took, and the MiB by which the most memory that was used has grown: one line of JSON each.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import resource
import struct
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import strategies as st

GRAY = (np.arange(12 * 16) % 251).reshape(12, 16).astype(np.uint8)
COLOR = (np.arange(12 * 16 * 3) % 251).reshape(12, 16, 3).astype(np.uint8)
STACK = (np.arange(5 * 64) % 251).reshape(5, 8, 8).astype(np.uint8)
HOW = ("bit", "byte", "number", "number", "word", "word", "out", "twice", "end")
NUMBERS = (0, 1, 127, 128, 255, 2**15 - 1, 2**15, 2**16 - 1, 30_000, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
WORDS = (
    b"0",
    b"-1",
    b"99999999999",
    b"1e308",
    b"nan",
    b"40000",
    b"2147483648",
    b"1" * 390,
    b"1" * 5000,
    b"[]",
)
EVIDENCE = json.dumps(
    {
        "format": "counterpoint-evidence-1", "claim": "evidence", "paper": "", "says": "", "differs": "",
        "verdict": "holds", "seeds": [{"one": {"accuracy": 0.5}}], "code": {}, "commit": "",
        "modified": False, "machine": {}, "versions": {}, "date": "", "seconds": 1.5, "cpu_seconds": 1.5,
        "findings": [
            {"arm": "one", "than": "two", "metric": "m", "margin": 0, "better": "higher", "gains": [1],
             "mean": 1, "low": 1, "high": 1, "verdict": "holds"},
        ],
        "repeated": {"seed": 0, "commit": "", "modified": False, "date": ""},
    }
).encode()  # fmt: skip
MUCH = 300 << 20
"""Bytes that bombs unpack to: little enough not to spoil the machine on which one goes off."""


def read(path: Path) -> Any:
    """Read a file as whoever is given one would; what it is goes by its name."""
    from counterpoint.core.networks import load_networks
    from counterpoint.data.known import read_idx
    from counterpoint.data.open import open_data
    from counterpoint.data.pairs import read_pairs
    from counterpoint.data.read import read_image
    from counterpoint.evidence import store
    from counterpoint.registration.transform import Transform
    from counterpoint.train.record import read_log, read_run

    readers: dict[str, Callable[[Path], Any]] = {
        r"pairs.*\.csv": read_pairs,
        r"transform.*": Transform.load,
        r"checkpoint\.safetensors": resumed,
        r".*\.safetensors": load_networks,
        r".*\.(csv|npy|npz|tar|parquet)": lambda p: list(open_data(p, workers=0).parts(2)),
        r"evidence\.json": lambda p: store.read("evidence", p.parent),
        r".*idx3.*": read_idx,
        r"run\.yaml": lambda p: read_run(p.parent),
        r"log\.jsonl": lambda p: read_log(p.parent),
        r".*": read_image,
    }
    return next(reader for name, reader in readers.items() if re.fullmatch(name, path.name))(path)


class Unscaled:
    """No loss scale."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


def resumed(path: Path) -> int:
    """The step of a checkpoint of a small training."""
    import torch

    from counterpoint.train import checkpoint
    from counterpoint.train.optim import OptimConfig, optimizer

    method = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    state = checkpoint.State(method, {"all": optimizer(method, OptimConfig())}, Unscaled())
    settings = {"method": {"kind": "none"}, "train": {"steps": 3}}
    if not path.exists():
        method(torch.ones(2, 2)).sum().backward()
        state.optimizers["all"].step()
        checkpoint.save(path, state, 1, settings)
    return checkpoint.load(path, state, settings)


def images() -> dict[str, bytes]:
    """Image files."""
    import SimpleITK as sitk
    import tifffile
    from imagecodecs import png_encode
    from PIL import Image

    def pillow(array: np.ndarray, kind: str, **more: Any) -> bytes:
        Image.fromarray(array).save(file := io.BytesIO(), kind, **more)
        return file.getvalue()

    def tiff(array: np.ndarray, **more: Any) -> bytes:
        tifffile.imwrite(file := io.BytesIO(), array, **more)
        return file.getvalue()

    two, gray = np.stack((GRAY, GRAY)), {"photometric": "minisblack"}
    about = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Channel": {"Name": ["a", "b"]}}
    made = {
        "gray.png": png_encode(GRAY),
        "wide.png": png_encode(GRAY.astype(np.uint16) * 99),
        "bits.png": pillow(GRAY > 99, "PNG"),
        "color.png": pillow(COLOR, "PNG"),
        "a.jpg": pillow(COLOR, "JPEG"),
        "progressive.jpeg": pillow(COLOR, "JPEG", progressive=True),
        "late.tif": pillow(COLOR, "TIFF", compression="tiff_lzw"),
        "plain.tif": tiff(COLOR, photometric="rgb"),
        "big.tif": tiff(GRAY, bigtiff=True, compression="packbits"),
        "imagej.tif": tiff(two, imagej=True, metadata={"axes": "CYX"}),
        "a.ome.tif": tiff(two, ome=True, metadata=about, compression="zlib", tile=(16, 16), **gray),
        "hex.nrrd": b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 3\nencoding: hex\n\n" + b"7f " * 12,
        "text.mha": b"ObjectType = Image\nNDims = 2\nBinaryData = False\nDimSize = 4 3\n"
        b"ElementType = MET_UCHAR\nElementDataFile = LOCAL\n" + b"7 " * 12,
        "text.nrrd": b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 3\nencoding: ascii\n\n" + b"7 " * 12,
    }
    plain, vectors = sitk.GetImageFromArray(GRAY), sitk.GetImageFromArray(COLOR, isVector=True)
    for name, image in {
        "a.nii": sitk.Cast(plain, sitk.sitkFloat32),
        "color.nii": vectors,
        "a.nii.gz": plain,
        "a.nrrd": plain,
        "a.mha": plain,
        "plain.mha": vectors,
    }.items():
        made[name] = through(name, partial(sitk.WriteImage, image, useCompression=name != "plain.mha"))
    return made


def others() -> dict[str, bytes]:
    """Tables, arrays, archives, transforms, networks, what a run leaves."""
    from counterpoint.core.config import load
    from counterpoint.core.networks import save_networks
    from counterpoint.registration.transform import Transform

    turn = Transform(np.array([[0.8, -0.6, 3], [0.6, 0.8, 4], [0, 0, 1]]), "rigid")
    network = load("counterpoint.encoders", "convnet").Config.from_dict({"width": 1}).build()
    idx = b"\0\0\x08\x03" + struct.pack(">3I", 5, 8, 8) + STACK.tobytes()
    arrays = {"image": STACK, "label": np.arange(5) % 2, "classes": np.array(["a", "b"])}
    transforms = {f"transform.{kind}": through(f"a.{kind}", turn.save) for kind in ("tfm", "txt", "json")}
    sealed = through("a", lambda path: save_networks(Path(path), {"image": network}))
    written = through("checkpoint.safetensors", lambda path: resumed(Path(path)))
    return (
        transforms
        | archives()
        | {
            "table.csv": b"file,label,part\na.png,cat,train\nb.png,dog,train\nb.png,dog,test\n",
            "pairs.csv": b"fixed,moving,name\na.png,b.png,one\nb.png,a.png,two\n",
            "a.npy": through("a.npy", lambda path: np.save(path, STACK)),
            "a.npz": through("a.npz", lambda path: np.savez(path, **arrays)),
            "packed.npz": through("a.npz", lambda path: np.savez_compressed(path, **arrays)),
            "images-idx3-ubyte": idx,
            "packed-images-idx3-ubyte.gz": gzip.compress(idx),
            "networks.safetensors": sealed,
            "older.safetensors": unsealed(sealed),
            "checkpoint.safetensors": unsealed(written),
            "evidence.json": EVIDENCE,
            "run.yaml": b"format: counterpoint-run-1\nseed: 3\nsettings:\n  train: {steps: 3, lr: 1.0e-05}\n",
            "log.jsonl": b'{"step": 1, "loss": 0.25}\n{"step": 2, "loss": 0.125}\n',
        }
    )


def archives() -> dict[str, bytes]:
    """Images in tar, and in Parquet where pyarrow is installed."""
    from imagecodecs import png_encode

    picture = png_encode(GRAY)
    with tarfile.open(fileobj=(file := io.BytesIO()), mode="w", format=tarfile.PAX_FORMAT) as tar:
        json_, one = b'{"label": 1, "group": "x"}', b"1"
        for name, data in (("é.png", picture), ("é.cls", one), ("b.png", picture), ("b.json", json_)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    found = {"a.tar": file.getvalue()}
    with suppress(ImportError):
        import pyarrow  # pyright: ignore[reportMissingImports]
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]

        rows = {"image": [{"bytes": picture, "path": None}] * 3, "label": [0, 1, 0]}
        table = pyarrow.table(rows)
        for name, packed in (("a.parquet", "none"), ("packed.parquet", "zstd")):
            write = partial(pyarrow.parquet.write_table, table, row_group_size=2, compression=packed)
            found[name] = through(name, write)
    return found


def unsealed(file: bytes) -> bytes:
    """A safetensors file of ours without its checksum, which else hides what lies behind it."""
    import safetensors.torch

    header = json.loads(file[8 : 8 + int.from_bytes(file[:8], "little")])
    said = json.loads(header["__metadata__"]["counterpoint"])
    del said["digest"]
    return safetensors.torch.save(safetensors.torch.load(file), {"counterpoint": json.dumps(said)})


def through(name: str, write: Callable[[str], Any]) -> bytes:
    """What a writer of files writes to one of this name."""
    with TemporaryDirectory() as folder:
        write(f"{folder}/{name}")
        return Path(folder, name).read_bytes()


@st.composite
def spoiled(draw: st.DrawFn, names: tuple[str, ...], files: dict[str, bytes]) -> tuple[str, bytes]:
    """One of the files, with bytes changed, cut out or doubled, or numbers made absurd."""
    name = draw(st.sampled_from(names))
    data = bytearray(files[name])
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        at = draw(st.integers(0, min(len(data), draw(st.sampled_from((64, 400, 10**6)))) - 1))
        match draw(st.sampled_from(HOW)):
            case "bit":
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "byte":
                data[at] = draw(st.integers(0, 255))
            case "number":
                form, number = draw(st.sampled_from(("<H", ">H", "<I", ">I", "<Q", "<f", ">f"))), draw(NUMBER)
                size = struct.calcsize(form)
                data[at : at + size] = struct.pack(form, number if form[1] == "f" else number % 256**size)
            case "word":
                if found := list(re.finditer(rb"\d+", data)):
                    place = found[draw(st.integers(0, len(found) - 1))]
                    data[place.start() : place.end()] = draw(st.sampled_from(WORDS))
            case "out":
                del data[at : at + draw(st.integers(1, 20))]
            case "twice":
                data[at:at] = data[at : at + draw(st.integers(1, 40))]
            case "end":
                del data[at:]
    return name, bytes(data)


NUMBER = st.sampled_from(NUMBERS)


def bombs(folder: Path) -> None:
    """Files of kilobytes that say they are gigabytes, or that mean to be run, or to lead elsewhere."""
    files = (
        image_bombs()
        | array_bombs()
        | {name: safetensors(said) for name, said in networks().items()}
        | {
            "endless.csv": b"file" + b"," * 10**6,
            "quoted.csv": b'file,label\n"' + b"x" * 10**6,
            "pairs quoted.csv": b'fixed,moving\n"' + b"x" * 10**6,
            "nul.csv": b"file\n\0\0\0\n",
            "formula.csv": b"file,label\n\"=cmd|'/C calc'!A0\",a\n",
            "utf16.csv": "file\na.png\n".encode("utf-16"),
            "transform.tfm": transform(
                "Transform: Euler2DTransform_double_2_2\nParameters: 1\nFixedParameters: 0"
            ),
            "transform.txt": transform("Transform: CompositeTransform_double_2_2\n" * 3),
            "transform.json": b"[" * 10**6,
            "log.jsonl": b"[" * 10**6 + b"\n",
        }
    )
    for name, data in files.items():
        (folder / name).write_bytes(data)
    for name, text in yamls().items():
        (folder / name).mkdir()
        (folder / name / "run.yaml").write_text(text, encoding="utf-8")


def image_bombs() -> dict[str, bytes]:
    """Headers that lie."""
    good = images()
    mha, nii = good["plain.mha"], good["a.nii"]
    nrrd = b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 3\nencoding: raw\n"
    return {
        "absurd.png": png(2**31 - 1, 2**31 - 1, b""),
        "bomb.png": png(40_000, 40_000, zlib.compress(bytes(2**20))),
        "bits.png": png(2**16, 2**15, zlib.compress(bytes(2**20)), depth=1),
        "absurd.jpg": re.sub(rb"(?s)(?<=\xff\xc0.{3}).{4}", lambda _: b"\xff" * 4, good["a.jpg"]),
        "bomb.nii.gz": gzip.compress(nii) + zeros(),
        "absurd.nii": nii[:42] + struct.pack("<2h", 32000, 32000) + nii[46:],
        "axes.mha": mha.replace(b"NDims = 2", b"NDims = 40000"),
        "twisted.mha": mha.replace(b"Matrix = 1 0 0 1", b"Matrix = 1 0 1e308 1"),
        "elsewhere.mhd": mha.replace(b"= LOCAL", b"= /dev/zero"),
        "above.mhd": mha.replace(b"= LOCAL", b"= ../networks.raw"),
        "many.mhd": mha.replace(b"= LOCAL", b"= LIST"),
        "elsewhere.nhdr": nrrd + b"data file: /dev/zero\n",
        "long.nrrd": nrrd.replace(b"dimension: 2", b"dimension: " + b"1" * 5000),
    }


def array_bombs() -> dict[str, bytes]:
    """Arrays that are too large, or code."""
    np.save(pickled := io.BytesIO(), np.array([Abort()], object), allow_pickle=True)
    return {
        "bomb.npz": zipped("image.npy", MUCH),
        "bomb-idx3.gz": gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", MUCH, 1, 1)) + zeros(),
        "pickle.npy": pickled.getvalue(),
        "deep.npy": npy("{'descr': " + "(" * 5000 + ", 'shape': (1,)}"),
        "huge.npy": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999,)}"),
        "code.npy": npy("{'descr': __import__('os').abort(), 'fortran_order': False, 'shape': (1,)}"),
    }


def zipped(name: str, length: int) -> bytes:
    """An archive with an entry of so many zeros, made without packing them all."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr(name, block * (length >> 20) + packer.flush())
    whole = bytearray(file.getvalue())
    for header, method, size in ((0, 8, 22), (whole.index(b"PK\x01\x02"), 10, 24)):
        struct.pack_into("<H", whole, header + method, zipfile.ZIP_DEFLATED)
        struct.pack_into("<I", whole, header + size, length)
    return bytes(whole)


class Abort:
    """Whoever unpickles it ends."""

    def __reduce__(self) -> Any:
        return os.abort, ()


def zeros() -> bytes:
    """Members of a gzip file that hold many zeros."""
    return gzip.compress(bytes(2**20)) * (MUCH >> 20)


def png(width: int, height: int, packed: bytes, depth: int = 8) -> bytes:
    """A gray PNG of these parts."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def npy(header: str) -> bytes:
    """An array file with this header."""
    text = header.ljust(118).encode() + b"\n"
    return b"\x93NUMPY\x02\0" + struct.pack("<I", len(text)) + text + bytes(64)


def transform(body: str) -> bytes:
    """A text file of ITK."""
    return f"#Insight Transform File V1.0\n#Transform 0\n{body}\n".encode()


def yamls() -> dict[str, str]:
    """Settings that are none."""
    laughs, merges = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n", "a0: &a0 {k: 1}\n"
    for i in range(1, 12):
        nine = ", ".join([f"*a{i - 1}"] * 9)
        laughs += f"a{i}: &a{i} [{nine}]\n"
        merges += f"a{i}: &a{i} {{<<: [{nine}]}}\n"
    return {
        "tags": "!!python/object/apply:os.abort []",
        "laughs": laughs,
        "merges": merges,
        "deep": "[" * 10**4,
        "number": "a: " + "9" * 10**5,
        "sexagesimal": "a: 1" + ":00" * 10**5,
        "date": "a: 2020-13-45",
        "stamp": "!!timestamp x",
        "bool": "!!bool x",
        "int": '!!int ""',
        "binary": "!!binary é",
        "nul": "\0",
    }


def networks() -> dict[str, str]:
    """Settings of networks that no machine holds, or that are none."""
    wrong = {
        "wide": {"width": 10**6},
        "wider": {"width": 10**18},
        "text": {"width": "x" * 10**6},
        "list": [1],
        "deep": {"kind": "vit", "depth": 10**9},
        "large": {"kind": "vit", "size": 2**18},
        "sines": {"kind": "vit", "size": 2**14, "positions": "sincos"},
        "inf": {"kind": "vit", "mlp": 1e300},
        "other": {"kind": "../../x"},
        "fetched": {"kind": "foreign", "library": "timm", "pretrained": True},
    }
    found = {"brackets.safetensors": "[" * 10**5, "digits.safetensors": "9" * 10**5}
    for name, kind in wrong.items():
        whole = {"kind": "convnet"} | kind if isinstance(kind, dict) else kind
        said = {"format": "counterpoint-networks-1", "networks": {"image": whole}}
        found[f"{name}.safetensors"] = json.dumps(said)
    return found


def safetensors(said: str) -> bytes:
    """Two weights, and what the header says of them."""
    weight = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    text = json.dumps({"__metadata__": {"counterpoint": said}, "image/a": weight}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(8)


def main(folder: Path) -> None:
    """See above."""
    from counterpoint.core.errors import InputError

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for name, data in (images() | others()).items():  # so that all is imported that there is
        (folder / f"good-{name}").write_bytes(data)
        with suppress(InputError):
            read(folder / f"good-{name}")
    for path in paths:
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        try:
            read(path)
            said = None
        except (InputError, MemoryError) as error:
            said = str(error)
        except Exception as error:
            said = f"LEAK {type(error).__name__}: {error}"
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        answer = [str(path.relative_to(folder)), said, time.process_time() - start, grown]
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
