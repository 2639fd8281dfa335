"""A sample SPA build: what a bundler leaves behind, in 50 small files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FILES = 50
_IMMUTABLE = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class SampleFile:
    """One file of a build, with the headers that a site needs."""

    key: str
    content: bytes
    content_type: str
    cache_control: str


def sample_build(version: str) -> Iterator[SampleFile]:
    """Yield the files of a build; another version is another build."""
    names = []
    for number in range(FILES - 2):
        content = f"export const part = '{version}/{number}';\n".encode() * (number + 1)
        name = f"assets/part-{number}.{hashlib.sha256(content).hexdigest()[:8]}.js"
        names.append(name)
        yield SampleFile(name, content, "text/javascript", _IMMUTABLE)
    scripts = "\n".join(f'<script type="module" src="{name}"></script>' for name in names)
    page = f"<!doctype html><title>shop {version}</title>\n{scripts}\n".encode()
    yield SampleFile("index.html", page, "text/html; charset=utf-8", "no-cache")
    about = f'{{"version": "{version}"}}\n'.encode()
    yield SampleFile("version.json", about, "application/json", "no-cache")


def upload_build(s3: Any, bucket: str, version: str) -> None:
    """Put a sample build into a bucket under `<version>/`."""
    for file in sample_build(version):
        s3.put_object(
            Bucket=bucket,
            Key=f"{version}/{file.key}",
            Body=file.content,
            ContentType=file.content_type,
            CacheControl=file.cache_control,
            Metadata={"build": version},
        )
