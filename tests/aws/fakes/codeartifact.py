"""CodeArtifact's `generic` format: what a publisher can do, and every way in which it is told no.

Rules (CodeArtifact API reference and user guide, "Publish and consume generic packages", "Overwriting package assets", "Package
version status"): the same asset with the same bytes is a success, with other bytes a conflict; a version is Unfinished until an
asset comes without `unfinished`; from then on it is never Unfinished again and takes no more assets, whatever its status; 150
assets a version; an expired token, or one for another domain, answers 404. The guide does not say what the same bytes again do to
the status of a version that was withdrawn: here, nothing.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass, field

from .model import ModelFake, Refused
from .server import Answer, Request

MAX_ASSETS = 150
PAGE = 50
"""Assets a page when the caller does not say: less than a version can have, so that paging is needed."""


@dataclass
class Version:
    """One version of a package."""

    status: str = "Unfinished"
    revision: str = field(default_factory=lambda: uuid.uuid4().hex)
    assets: dict[str, bytes] = field(default_factory=dict)


class CodeArtifact(ModelFake):
    service = "codeartifact"

    def __init__(self, domain: str = "corp", owner: str = "000000000000", repository: str = "approved") -> None:
        self.domain, self.owner, self.repository = domain, owner, repository
        self.versions: dict[tuple[str | None, str, str], Version] = {}
        self.origins: dict[tuple[str | None, str], dict] = {}
        self.troubles: list[Refused] = []
        """The errors that the next calls get, in order."""
        self.down = False
        """Every call is throttled, until this is taken back."""
        self.broken: set[str] = set()
        """Packages on which every call ends in an error of the service, until they are taken back."""
        self.delay = 0.0
        """Seconds that a publication takes."""
        self.published = 0
        """How often a version became Published."""
        super().__init__()

    def throttle(self, times: int) -> None:
        """The next calls are throttled."""
        with self.lock:
            self.troubles += [Refused("ThrottlingException", "Rate exceeded", retryAfterSeconds="1")] * times

    def expire(self, times: int) -> None:
        """The next calls find an expired token: the service answers as if there were no such repository."""
        with self.lock:
            gone = Refused("ResourceNotFoundException", "Repository not found", resourceType="repository")
            self.troubles += [gone] * times

    def withdraw(self, package: str, version: str, status: str = "Archived", namespace: str | None = "gate") -> None:
        """What a person does at the console. The gate's role may not, and no function is asked here."""
        with self.lock:
            self.versions[(namespace, package, version)].status = status

    def assets(self, package: str, version: str, namespace: str | None = "gate") -> dict[str, bytes]:
        """What users can download."""
        with self.lock:
            found = self.versions.get((namespace, package, version))
            return dict(found.assets) if found and found.status in ("Published", "Unlisted") else {}

    def downloadable(self) -> set[tuple[str, str]]:
        """Name and SHA-256 of every asset that users can download."""
        with self.lock:
            visible = [found.assets for found in self.versions.values() if found.status in ("Published", "Unlisted")]
        return {(name, hashlib.sha256(content).hexdigest()) for assets in visible for name, content in assets.items()}

    def status(self, package: str, version: str, namespace: str | None = "gate") -> str | None:
        with self.lock:
            found = self.versions.get((namespace, package, version))
            return found.status if found else None

    def describe_package_version(self, p: dict, _: Request) -> dict:
        found = self.version(p)
        return {
            "packageVersion": {
                **self.names(p),
                "packageName": p["package"],
                "version": p["packageVersion"],
                "revision": found.revision,
                "status": found.status,
            }
        }

    def list_package_version_assets(self, p: dict, _: Request) -> dict:
        found = self.version(p)
        names = sorted(found.assets)
        start = int(p.get("nextToken", "0"))
        size = min(p.get("maxResults", PAGE), PAGE)
        listed = [
            {"name": name, "size": len(found.assets[name]), "hashes": hashes(found.assets[name])}
            for name in names[start : start + size]
        ]
        more = {"nextToken": str(start + size)} if start + size < len(names) else {}
        return {
            **self.names(p),
            "package": p["package"],
            "version": p["packageVersion"],
            "versionRevision": found.revision,
            "assets": listed,
            **more,
        }

    def get_package_version_asset(self, p: dict, _: Request) -> Answer:
        found = self.version(p)
        if p["asset"] not in found.assets or found.status not in ("Published", "Unlisted", "Unfinished"):
            raise Refused("ResourceNotFoundException", "Asset not found", resourceType="asset")
        headers = {"X-AssetName": p["asset"], "X-PackageVersion": p["packageVersion"]}
        return Answer(200, found.assets[p["asset"]], headers)

    def publish_package_version(self, p: dict, _: Request) -> dict:
        time.sleep(self.delay)
        self.known(p)
        if p["format"] != "generic":
            raise self.invalid("only generic packages are published by this call")
        if not p.get("namespace"):
            raise self.invalid("a generic package needs a namespace")
        content, name = p["assetContent"], p["assetName"]
        if hashlib.sha256(content).hexdigest() != p["assetSHA256"]:
            raise self.invalid("the asset does not have this SHA-256")
        if self.origins.get((p["namespace"], p["package"]), {}).get("publish") == "BLOCK":
            raise self.conflict("publishing is blocked by the package's origin configuration")
        found = self.versions.setdefault(self.key(p), Version())
        held = found.assets.get(name)
        if held is not None and held != content:
            raise self.conflict("an asset of this name with other bytes exists")
        if held is None and found.status != "Unfinished":
            raise self.conflict(f"the version is {found.status} and takes no more assets")
        if held is None and len(found.assets) >= MAX_ASSETS:
            raise Refused("ServiceQuotaExceededException", "too many assets", resourceType="package-version")
        found.assets[name] = content
        if not p.get("unfinished", False) and found.status == "Unfinished":
            found.status = "Published"
            self.published += 1
        return {
            **self.names(p),
            "package": p["package"],
            "version": p["packageVersion"],
            "versionRevision": found.revision,
            "status": found.status,
            "asset": {"name": name, "size": len(content), "hashes": hashes(content)},
        }

    def update_package_versions_status(self, p: dict, _: Request) -> dict:
        self.known(p)
        done, failed = {}, {}
        for number in p["versions"]:
            found = self.versions.get((p.get("namespace"), p["package"], number))
            revision = p.get("versionRevisions", {}).get(number)
            if found is None:
                failed[number] = {"errorCode": "NOT_FOUND", "errorMessage": "no such version"}
            elif p.get("expectedStatus") not in (None, found.status):
                failed[number] = {"errorCode": "MISMATCHED_STATUS", "errorMessage": f"it is {found.status}"}
            elif revision not in (None, found.revision):
                failed[number] = {"errorCode": "MISMATCHED_REVISION", "errorMessage": "another revision"}
            elif p["targetStatus"] not in ("Published", "Unlisted", "Archived") or found.status == "Disposed":
                failed[number] = {"errorCode": "NOT_ALLOWED", "errorMessage": "not a status to change to"}
            else:
                self.published += p["targetStatus"] == "Published" and found.status == "Unfinished"
                found.status = p["targetStatus"]
                done[number] = {"revision": found.revision, "status": found.status}
        return {"successfulVersions": done, "failedVersions": failed}

    def put_package_origin_configuration(self, p: dict, _: Request) -> dict:
        self.known(p)
        # On a package that does not exist it makes one, without versions (API reference).
        self.origins[(p.get("namespace"), p["package"])] = p["restrictions"]
        return {"originConfiguration": {"restrictions": p["restrictions"]}}

    def resource(self, p: dict) -> str:
        name = "/".join(filter(None, (p["format"], p.get("namespace"), p["package"])))
        return f"{p.get('domainOwner', self.owner)}:package/{p['domain']}/{p['repository']}/{name}"

    def version(self, p: dict) -> Version:
        self.known(p)
        found = self.versions.get(self.key(p))
        if found is None:
            raise Refused("ResourceNotFoundException", "Package version not found", resourceType="package-version")
        return found

    def known(self, p: dict) -> None:
        if self.down:
            self.throttle(1)
        if self.troubles:
            raise self.troubles.pop(0)
        if p["package"] in self.broken:
            raise Refused("InternalServerException", "We encountered an internal error")
        if (p["domain"], p["repository"]) != (self.domain, self.repository) or p.get("domainOwner", self.owner) != self.owner:
            raise Refused("ResourceNotFoundException", "Repository not found", resourceType="repository")

    def conflict(self, message: str) -> Refused:
        return Refused("ConflictException", message, resourceType="package-version")

    @staticmethod
    def key(p: dict) -> tuple[str | None, str, str]:
        return (p.get("namespace"), p["package"], p["packageVersion"])

    @staticmethod
    def names(p: dict) -> dict:
        return {"format": p["format"], **({"namespace": p["namespace"]} if p.get("namespace") else {})}


def hashes(content: bytes) -> dict[str, str]:
    names = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}
    return {shown: hashlib.new(name, content).hexdigest() for shown, name in names.items()}
