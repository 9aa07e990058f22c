"""The units of deploy/systemd under a systemd that runs, in a Debian of its own without a network."""

import shutil
from typing import Final

from tests.package import image
from tests.package.machine import copy_of_bare_debian, expect, measured, run, within
from tests.running import ROOT

_UNITS: Final = "sealpost.service sealpost-worker@1.service sealpost-gateway.service"
# As docs/installing.md has it.
_SET_UP: Final = """
useradd --system --home-dir /var/lib/sealpost --shell /usr/sbin/nologin sealpost
install -d -m 750 -g sealpost /etc/sealpost
python3 -c "import secrets; print(secrets.token_urlsafe(48))" > /etc/sealpost/app_key
chown root:sealpost /etc/sealpost/app_key
chmod 440 /etc/sealpost/app_key
install -d -o sealpost -g sealpost -m 700 /var/lib/sealpost
cat > /var/lib/sealpost/.env <<'END'
BASE_URL=https://mail.example.com
TRUSTED_PROXIES=1
APP_KEY_FILE=/etc/sealpost/app_key
END
chown sealpost:sealpost /var/lib/sealpost/.env
chmod 600 /var/lib/sealpost/.env
cp /srv/sealpost/deploy/systemd/*.service /etc/systemd/system/
systemctl enable sealpost sealpost-worker@1 sealpost-gateway report
"""
_REPORT: Final = f"""[Unit]
After={_UNITS}
[Service]
Type=oneshot
TimeoutStartSec=600
StandardOutput=file:/report
StandardError=inherit
ExecStart=/bin/sh /root/report
[Install]
WantedBy=multi-user.target
"""
_TRY: Final = f"""
for _ in $(seq 120); do
  systemctl is-failed --quiet {_UNITS} && break
  systemctl is-active --quiet sealpost && systemctl is-active --quiet sealpost-worker@1 &&
    systemctl is-active --quiet sealpost-gateway && break
  sleep 1
done
systemctl --no-pager status {_UNITS}
/srv/sealpost/deploy/healthcheck && echo pages: well
sleep 65  # longer than the watchdog waits
for unit in {_UNITS}; do echo $unit: $(systemctl is-active $unit) $(systemctl show --value -p NRestarts $unit); done
systemctl stop {_UNITS}
for unit in {_UNITS}; do echo $unit: $(systemctl show --value -p Result $unit); done
journalctl -b --no-pager -u 'sealpost*' | tail -60
poweroff
"""


def booted() -> None:
    """Each unit becomes active, stays so for longer than its watchdog waits, and ends in peace."""
    tree = copy_of_bare_debian("booted")
    packages = "systemd systemd-sysv dbus python3 procps"
    within(tree, f"apt-get update -qq; apt-get install -y -qq --no-install-recommends {packages}")
    image.code_of_image(tree / "srv" / "sealpost")
    shutil.copytree(ROOT / "deploy" / "systemd", tree / "srv" / "sealpost" / "deploy" / "systemd")
    (tree / "etc" / "systemd" / "system" / "report.service").write_text(_REPORT)
    (tree / "root" / "report").write_text(_TRY)
    within(tree, _SET_UP)
    with measured("systemd with the three units, booted and stopped"):
        options = ("--register=no", "--keep-unit", "--private-network", "--machine=sealpost-package")
        run("systemd-nspawn", "-q", "-D", tree, "-b", *options, seconds=900)
    report = (tree / "report").read_text()
    expect("pages: well" in report, report)
    for unit in _UNITS.split():
        expect(f"{unit}: active 0" in report and f"{unit}: success" in report, report)
