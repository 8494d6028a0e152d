"""A study's runs that came to an end, packed into one archive beside its report, and put back from it."""

from __future__ import annotations

import io
import json
import lzma
import os
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from command import files
from runs import read_config

EVIDENCE = ("config.json", "bluf.json", "evals.jsonl", "rows.jsonl")  # all that tables, plots and verdicts read


def pack_runs(runs_dir: Path, archive: Path) -> int:
    """The runs of a study that ended, finished or not -> one .tar.xz of their EVIDENCE; returns how many.

    The same runs give the same bytes. Weights, rollouts and logs stay behind; the path of the machine's folder is
    replaced by out/studies/<study>/runs. ValueError: no such run.
    """
    packed, home = 0, f"out/studies/{runs_dir.resolve().parent.name}/runs"
    with files.atomic_path(archive) as tmp, tarfile.open(tmp, "w:xz") as tar:
        for d in sorted(p.parent for p in runs_dir.glob("*/config.json")):
            if not all((d / name).is_file() for name in EVIDENCE):
                continue
            place = read_config(d)["config"]["out_dir"]
            for name in EVIDENCE:
                data = (d / name).read_bytes().replace(json.dumps(place)[1:-1].encode(), home.encode())
                member = tarfile.TarInfo(f"{d.name}/{name}")  # no owner, no time: the bytes are the runs' alone
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
            packed += 1
        if not packed:
            raise ValueError(f"{runs_dir}: no run that came to an end, nothing to pack")
    return packed


def unpack_runs(archive: Path, runs_dir: Path) -> int:
    """Put back what `pack_runs` packed; returns how many runs are new. A run that is there already stays as it is.

    ValueError: the file is cut, or holds anything but runs; then nothing is written.
    """
    runs_dir.mkdir(parents=True, exist_ok=True)
    try:  # the whole of it first: a reader of the tar alone would not miss a lost end
        data = lzma.decompress(archive.read_bytes())
    except lzma.LZMAError as e:
        raise ValueError(f"{archive}: cut or not a .tar.xz ({e}); `git checkout {archive}` restores it") from e
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as tar,
        tempfile.TemporaryDirectory(dir=runs_dir, prefix=".unpack-") as tmp,
    ):
        for m in tar.getmembers():
            at = PurePosixPath(m.name)
            if not m.isfile() or len(at.parts) != 2 or at.parts[0] in ("..", "/") or at.name not in EVIDENCE:
                raise ValueError(f"{archive}: {m.name!r} is no file of a run; not an archive of `study publish`")
        tar.extractall(tmp, filter="data")
        new = [d for d in sorted(Path(tmp).iterdir()) if not (runs_dir / d.name).exists()]
        for d in new:
            os.replace(d, runs_dir / d.name)
    return len(new)
