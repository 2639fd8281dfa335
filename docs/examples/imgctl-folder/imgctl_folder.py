"""Promotes files: `folder:<name>:<version>` is the file `<name>-<version>` in a folder."""

import hashlib
import re
import shutil
from contextlib import suppress
from pathlib import Path

from imgctl_core import (
    ArtifactRef,
    Context,
    NoSettings,
    Plan,
    PluginModel,
    Promoter,
    PromotionItem,
    hookimpl,
)
from imgctl_core.errors import ArtifactNotFound, Conflict, InvalidReference, VerificationFailed


def digest(file: Path) -> str | None:
    return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" if file.is_file() else None


class Folder(PluginModel):
    path: Path


class FolderPromoter(Promoter[Folder, NoSettings]):
    kind, family, family_field = "folder", "FOLDER", "path"  # IMGCTL_FOLDER_DEV=/srv/dev
    Endpoint, Settings = Folder, NoSettings

    def parse(self, text: str) -> ArtifactRef:
        match = re.fullmatch(r"(\w[\w.-]*):(\w[\w.]*)", text)
        if match is None:
            raise InvalidReference(f"{text!r} is no folder reference: write <name>:<version>")
        return ArtifactRef(self.kind, name=match[1], version=match[2])

    def plan(self, item: PromotionItem, context: Context) -> Plan:
        wanted = digest(self.file(item.source, item))
        if wanted is None:
            raise ArtifactNotFound(f"there is no file {item.ref} in {item.source}")
        return Plan(item, wanted, self.current(item, wanted))

    def stage(self, plan: Plan, context: Context) -> None:
        context.check()  # between steps: was it cancelled, is the time up?
        source, staged = self.file(plan.item.source, plan.item), self.staged(plan.item)
        context.progress.total(source.stat().st_size)
        shutil.copyfile(source, staged)
        if digest(staged) != plan.digest:
            raise VerificationFailed(f"{plan.item.ref} has changed in {plan.item.source}")
        context.progress.copied(staged.stat().st_size)

    def publish(self, plan: Plan, context: Context) -> None:
        self.current(plan.item, plan.digest)  # raises a conflict that came meanwhile
        with suppress(FileNotFoundError):  # published before, and asked again
            self.staged(plan.item).replace(self.file(plan.item.destination, plan.item))

    def verify(self, plan: Plan, context: Context) -> str:
        return digest(self.file(plan.item.destination, plan.item)) or ""

    def current(self, item: PromotionItem, wanted: str) -> str | None:
        found = digest(self.file(item.destination, item))
        if found not in (None, wanted) and not item.replace:
            raise Conflict(f"{item.destination} holds another {item.ref}: {found}, not {wanted}")
        return found

    def file(self, environment: str, item: PromotionItem) -> Path:
        return self.endpoints[environment].path / f"{item.ref.name}-{item.ref.version}"

    def staged(self, item: PromotionItem) -> Path:
        final = self.file(item.destination, item)
        return final.with_name(f".{final.name}.staged")


@hookimpl
def imgctl_promoters() -> list[type[FolderPromoter]]:
    return [FolderPromoter]
