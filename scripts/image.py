"""Packs static binaries as container images of one layer with one file. Started by scripts/image.sh, which says what comes out.

Same input, same bytes: entries are in order, all times are SOURCE_DATE_EPOCH's, and GNU gzip compresses, whose output does not
differ between machines as that of the many zlibs does.
"""

import argparse
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import time

# Architecture: its platform in an image, its machine in an ELF header.
PLATFORMS = {
    "amd64": ({"architecture": "amd64", "os": "linux"}, 62),
    "arm64": ({"architecture": "arm64", "os": "linux"}, 183),
    "armv7": ({"architecture": "arm", "os": "linux", "variant": "v7"}, 40),
}
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
CREATED = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH))
OCI = "application/vnd.oci.image."


def fail(text):
    sys.exit(f"error: {text}")


def check(arch, path, binary):
    """A wrong binary would show only on the node, as "exec format error" or "no such file"."""
    if binary[:4] != b"\x7fELF":
        fail(f"{path} is no program for Linux")
    if struct.unpack_from("<H", binary, 18)[0] != PLATFORMS[arch][1]:
        fail(f"{path} is not for {arch}; say what it is for with --arch")
    # Where the program headers begin, how long each is, how many there are: in 64 bits or in 32.
    start, size, count = (*struct.unpack_from("<Q", binary, 32), *struct.unpack_from("<HH", binary, 54)) if binary[4] == 2 else (
        *struct.unpack_from("<I", binary, 28), *struct.unpack_from("<HH", binary, 42))
    kinds = {struct.unpack_from("<I", binary, start + size * i)[0] for i in range(count)}
    if 3 in kinds:  # PT_INTERP: it wants a loader
        fail(f"{path} is not static, and the image holds nothing but it; scripts/build.sh makes static ones")


def capability():
    """The file capability cap_net_raw+p as the kernel stores it (struct vfs_cap_data, revision 2).

    Permitted and not effective: with it the program starts also where the container may not have NET_RAW, and says so. It
    raises the capability itself.
    """
    net_raw = 13
    return struct.pack("<5I", 0x02000000, 1 << net_raw, 0, 0, 0).decode("ascii")


def entry(name, size=0, mode=0o644, xattrs=None):
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, mode, EPOCH
    member.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in (xattrs or {}).items()}
    return member


def layer(binary):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(entry("lanlord", len(binary), 0o755, {"security.capability": capability()}), io.BytesIO(binary))
    return packed.getvalue()


class Archive:
    """An OCI image layout; with docker's manifest.json beside it the same file is what `docker save` writes."""

    def __init__(self):
        self.files = {"oci-layout": self.json({"imageLayoutVersion": "1.0.0"})}

    @staticmethod
    def json(value):
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    def blob(self, kind, content):
        digest = hashlib.sha256(content).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = content
        return {"mediaType": OCI + kind, "digest": f"sha256:{digest}", "size": len(content)}

    def add(self, image):
        """Adds an image; its descriptor, and the names of its configuration and layer."""
        config = self.blob("config.v1+json", self.json(image["config"]))
        packed = self.blob("layer.v1.tar+gzip", image["layer"])
        manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config, "layers": [packed]}
        names = [blob["digest"].replace("sha256:", "blobs/sha256/") for blob in (config, packed)]
        return {**self.blob("manifest.v1+json", self.json(manifest)), "platform": image["platform"]}, names

    def index(self, descriptors):
        return {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": descriptors}

    def write(self, path, reference, descriptor):
        # Podman and skopeo read the first, containerd (k3s, kind) the second.
        names = {"org.opencontainers.image.ref.name": reference, "io.containerd.image.name": reference}
        self.files["index.json"] = self.json(self.index([{**descriptor, "annotations": names}]))
        with tarfile.open(path + ".part", "w", format=tarfile.USTAR_FORMAT) as tar:
            for folder in ("blobs", "blobs/sha256"):
                member = entry(folder, mode=0o755)
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            for name, content in sorted(self.files.items()):
                tar.addfile(entry(name, len(content)), io.BytesIO(content))
        os.replace(path + ".part", path)


def image(arch, path, labels):
    with open(path, "rb") as file:
        binary = file.read()
    check(arch, path, binary)
    plain = layer(binary)
    packed = subprocess.run(["gzip", "-9n"], input=plain, stdout=subprocess.PIPE, check=True).stdout
    platform = PLATFORMS[arch][0]
    # `kubectl exec … -- lanlord status` looks for the program on the path.
    settings = {"User": "65532:65532", "Env": ["PATH=/"], "Entrypoint": ["/lanlord"], "Labels": labels}
    config = {
        **platform,
        "created": CREATED,
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(plain).hexdigest()]},
        "history": [{"created": CREATED, "created_by": "scripts/image.sh"}],
    }
    print(f"    {arch}: {len(binary) / 2**20:.1f} MiB, compressed {len(packed) / 2**20:.1f} MiB", file=sys.stderr)
    return {"platform": platform, "config": config, "layer": packed}


def main():
    arguments = argparse.ArgumentParser()
    for option in ("out", "tag", "version"):
        arguments.add_argument("--" + option, required=True)
    arguments.add_argument("--label", action="append", default=[], metavar="NAME=VALUE")
    arguments.add_argument("binary", nargs="+", metavar="ARCH=BINARY")
    given = arguments.parse_args()
    labels = dict(label.split("=", 1) for label in given.label)
    images = {arch: image(arch, path, labels) for arch, path in (binary.split("=", 1) for binary in given.binary)}

    written = []
    for arch, one in images.items():
        archive = Archive()
        descriptor, (config, packed) = archive.add(one)
        archive.files["manifest.json"] = archive.json([{"Config": config, "RepoTags": [given.tag], "Layers": [packed]}])
        written.append(f"{given.out}/lanlord-{given.version}-{arch}.docker.tar")
        archive.write(written[-1], given.tag, descriptor)
    archive = Archive()
    descriptors = [archive.add(one)[0] for one in images.values()]
    index = archive.blob("index.v1+json", archive.json(archive.index(descriptors)))
    written.append(f"{given.out}/lanlord-{given.version}.oci.tar")
    archive.write(written[-1], given.tag, index)

    for path in written:
        with open(path, "rb") as file:
            print(f"{hashlib.sha256(file.read()).hexdigest()}  {path}")


main()
