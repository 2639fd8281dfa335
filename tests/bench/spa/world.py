"""The world of SPA builds: a real S3 server, near and far, and one that answers at once."""

from __future__ import annotations

import os
import time
from typing import Final

from tests.bench.lines import Route, Toxiproxy
from tests.bench.meters import ProcessMeter
from tests.bench.programs import PEERS, program
from tests.bench.spa.builds import Build, upload
from tests.bench.spa.gateway import BucketSite, Gateway
from tests.bench.spa.stub import Stub, StubSite
from tests.bench.world import World

_SOURCE, _DESTINATION = "shop-dev", "shop-prod"
_SMALL: Final = 2


class SpaWorld(World):
    """Two buckets, near and far, and two of the stub's."""

    near: Route
    far: Route
    quick: Route
    stub: Stub
    source: BucketSite
    destination: BucketSite

    def build(self, files: int) -> Build:
        """Put a new build into the source bucket."""
        build = Build(f"v{files}-{time.time_ns()}", files)
        upload(build, self.source.host, _SOURCE, self.folder / "upload", self.rival_env)
        return build

    def _build(self) -> None:
        gateway = self._stack.enter_context(
            Gateway(program("versitygw"), self.folder / "versitygw")
        )
        meter = ProcessMeter(gateway.process.pid)
        self.source = BucketSite(gateway, _SOURCE, meter)
        self.destination = BucketSite(gateway, _DESTINATION, meter)
        ends = (self.source, self.destination)
        toxiproxy = Toxiproxy(program("toxiproxy-server"), self.folder / "toxiproxy")
        self._stack.callback(toxiproxy.process.stop)
        distant = toxiproxy.far("s3", self.source.host)
        self.stub = self._stack.enter_context(Stub(self.folder / "stub", _SOURCE))
        meter = ProcessMeter(self.stub.process.pid)
        stubs = (
            StubSite(self.stub, "source", meter),
            StubSite(self.stub, "destination", meter),
        )
        self.near = Route("dev", "prod", self.source.host, self.source.host, ends)
        self.far = Route("far-dev", "far-prod", distant, distant, ends)
        self.quick = Route("quick-dev", "quick-prod", self.stub.host, self.stub.host, stubs)
        self.routes = (self.near, self.far, self.quick)
        keys = {
            "AWS_ACCESS_KEY_ID": gateway.access_key,
            "AWS_SECRET_ACCESS_KEY": gateway.secret_key,
            "AWS_DEFAULT_REGION": gateway.region,
        }
        self.rival_env = self._rival_env(keys)
        self._start_server(self._environments(), keys)

    def _fill(self, route: Route) -> str:
        if route is self.quick:
            return f"spa:shop:{_SMALL}-warm-up"
        return self.build(_SMALL).ref

    def _rival_env(self, keys: dict[str, str]) -> dict[str, str]:
        home = self.folder / "rivals"
        home.mkdir()
        return {
            "PATH": f"{PEERS}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(home),
            **keys,
            "AWS_REGION": keys["AWS_DEFAULT_REGION"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "RCLONE_CONFIG_S3_TYPE": "s3",
            "RCLONE_CONFIG_S3_PROVIDER": "Other",
            "RCLONE_CONFIG_S3_ENV_AUTH": "true",
        }

    def _environments(self) -> list[str]:
        lines = []
        for route in self.routes:
            ends = ((route.source, "dev"), (route.destination, "prod"))
            for name, suffix in ends:
                lines += [
                    f"[environments.{name}.spa]",
                    f'suffix = "{suffix}"',
                    f'endpoint_url = "http://{route.source_host}"',
                ]
        return lines
