"""README's two commands on a machine that has nothing: a bare Debian, as its installer leaves it."""

import shutil
from typing import Final

from tests.loopback import free_port
from tests.package.machine import AUTHORITIES, copy_of_bare_debian, expect, measured, run, within
from tests.running import ROOT

PACKAGES: Final = "git make python3-venv"
_AS_A_PERSON: Final = """
export PIP_CERT=$1 SSL_CERT_FILE=$1 PORT=$2 LOCAL_INBOX_PORT=0
git clone -q /source sealpost && cd sealpost
make run > /said 2>&1 &
for _ in $(seq 1200); do
  grep -q 'Set-up code' /said && break
  kill -0 $! 2>/dev/null || break
  sleep 0.5
done
python3 -c "import urllib.request as u; print('answers', u.urlopen('http://127.0.0.1:$PORT/healthz').read().decode())"
kill -INT $(pidof python) || kill $!
cat /said
"""


def two_commands() -> None:
    tree = copy_of_bare_debian("person")
    run("git", "clone", "-q", "--bare", ROOT, tree / "source")
    with measured(f"the first: apt-get install -y {PACKAGES}"):
        within(tree, f"apt-get update -qq; apt-get install -y -qq {PACKAGES}")
    with measured("the second: git clone … && make run, until it has said its set-up code and answered"):
        told = within(tree, _AS_A_PERSON, [AUTHORITIES, str(free_port())])
    expect("answers ok" in told and "Set-up code" in told, told)
    shutil.rmtree(tree)
