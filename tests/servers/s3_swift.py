"""OpenStack Swift with its S3 layer in one process, started by tests/servers/s3.py.

    python s3_swift.py FOLDER CERTIFICATE ACCESS_KEY SECRET_KEY REGION

    client -> proxy (s3api, tempauth, slo, dlo) -> account, container (SQLite), object (in memory:
    no xattr is needed)

The four servers are Swift's own; only the files that an administrator writes come from here. Prints
where it listens.
"""

import warnings

warnings.simplefilter("ignore")  # eventlet says at every start that it is old

import eventlet  # noqa: E402

eventlet.monkey_patch()

import array  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from eventlet import wsgi  # noqa: E402
from swift.common import utils  # noqa: E402
from swift.common.http_protocol import SwiftHttpProtocol  # noqa: E402
from swift.common.ring import RingData  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402

COMMON = """
[swift-hash]
swift_hash_path_suffix = tests
[storage-policy:0]
name = only
default = yes
"""

BACKEND = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/disk
mount_check = false
[app:main]
use = egg:swift#{app}
"""

# 10,000 parts as at Amazon; Swift's own limit is 1,000. No cache: what one request has changed, the
# next one sees.
PROXY = """
[DEFAULT]
swift_dir = {folder}
[pipeline:main]
pipeline = s3api tempauth slo dlo proxy-server
[filter:s3api]
use = egg:swift#s3api
location = {region}
storage_domain = localhost
max_upload_part_num = 10000
[filter:tempauth]
use = egg:swift#tempauth
{user} = {secret} .admin
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
[filter:dlo]
use = egg:swift#dlo
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""


def main(folder: str, certificate: str, access: str, secret: str, region: str) -> None:
    base = Path(folder)
    (base / "disk" / "d").mkdir(parents=True)
    (base / "swift.conf").write_text(COMMON)
    utils.set_swift_dir(folder)
    listening = {
        name: eventlet.listen(("127.0.0.1", 0), backlog=128)
        for name in ("account", "container", "object", "proxy")
    }
    for name in ("account", "container", "object"):
        ring(base / (name + ".ring.gz"), listening[name].getsockname()[1])
        app = "mem_object" if name == "object" else name
        (base / (name + ".conf")).write_text(BACKEND.format(folder=folder, app=app))
    user = "user_" + access.replace(":", "_")
    (base / "proxy.conf").write_text(
        PROXY.format(folder=folder, region=region, user=user, secret=secret)
    )
    apps = {
        name: loadapp(str(base / (name + ".conf")), global_conf={"log_name": name})
        for name in listening
    }
    tls = eventlet.wrap_ssl(
        eventlet.listen(("127.0.0.1", 0), backlog=128), certfile=certificate, server_side=True
    )
    servers = [
        eventlet.spawn(serve, sock, apps[name])
        for name, sock in [*listening.items(), ("proxy", tls)]
    ]
    print(
        "http://127.0.0.1:%d/ https://localhost:%d/"
        % tuple(s.getsockname()[1] for s in (listening["proxy"], tls)),
        flush=True,
    )
    for server in servers:
        server.wait()


def ring(path: Path, port: int) -> None:
    """One replica of everything, on one device."""
    location = {
        "ip": "127.0.0.1",
        "port": port,
        "replication_ip": "127.0.0.1",
        "replication_port": port,
    }
    device = {"id": 0, "region": 1, "zone": 0, "weight": 1.0, "device": "d", "meta": "", **location}
    RingData([array.array("H", [0, 0])], [device], 31).save(str(path))


def serve(sock, app) -> None:
    """As Swift itself starts it (swift.common.wsgi.run_server, which wants a process for each)."""
    log = utils.NullLogger()
    wsgi.server(
        sock,
        app,
        log,
        protocol=SwiftHttpProtocol,
        capitalize_response_headers=False,
        url_length_limit=8192,
    )


main(*sys.argv[1:])
