#!/bin/sh
# Measures roomd beside what people use instead: Redis pub/sub, NATS, ngircd and InspIRCd, all from
# Debian, with the workloads of `roomd bench --suite`. Prints one table. See peers.md.
#
#   benches/peers.sh                 everything (about ten minutes)
#   benches/peers.sh --only paced    one workload; all arguments go to `roomd bench --suite`
#
# Everything listens on loopback, on ports 164xx, and ends with the script.
set -eu
cd "$(dirname "$0")/.."

programs="ngircd inspircd redis-server nats-server taskset"
missing=""
for program in $programs; do
    command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || missing="$missing $program"
done
if [ -n "$missing" ]; then
    echo "peers.sh: missing:$missing; installing them" >&2
    sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    $sudo apt-get install -y --no-install-recommends ngircd inspircd redis-server nats-server util-linux
fi
PATH="$PATH:/usr/sbin"

cargo build --release --bins --example floor
target="${CARGO_TARGET_DIR:-target}/release"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
# ngircd started by root changes to nobody, who must be able to read its configuration.
chmod 755 "$work"

# ngircd: no name look-ups, no limits per address, no penalty for talking fast.
cat >"$work/ngircd.conf" <<'END'
[Global]
Name = irc.bench.local
Info = bench
AdminInfo1 = bench
Listen = 127.0.0.1
Ports = 16401
ServerUID = nobody
ServerGID = nogroup
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 10
MaxPenaltyTime = 0
PingTimeout = 3600
[Options]
DNS = no
Ident = no
PAM = no
END

# InspIRCd: the same; the threshold is the penalty at which a talkative client is disconnected.
cat >"$work/inspircd.conf" <<END
<server name="irc.bench.local" description="bench" network="bench" id="001">
<admin name="bench" description="bench" email="bench@localhost">
<bind address="127.0.0.1" port="16402" type="clients">
<connect name="bench" allow="*" timeout="60" pingfreq="3600" maxchans="10" useident="no"
    resolvehostnames="no" maxconnwarn="off" localmax="100000" globalmax="100000" limit="100000"
    fakelag="no" threshold="1000000" commandrate="1000000"
    recvq="1048576" softsendq="67108864" hardsendq="67108864">
<performance netbuffersize="10240" somaxconn="1024" softlimit="20000" clonesonconnect="no">
<limits maxnick="16" maxchan="64">
<pid file="$work/inspircd.pid">
<path datadir="$work" logdir="$work">
<log method="stderr" level="default" type="*">
END

# Redis: no snapshots, and no limit that disconnects a subscriber.
cat >"$work/redis.conf" <<END
bind 127.0.0.1
port 16403
save ""
appendonly no
maxclients 15000
client-output-buffer-limit pubsub 0 0 0
dir $work
END

as_root=""
[ "$(id -u)" != 0 ] || as_root="--runasroot"

# ngircd listens with a backlog of 10, so it gets 8 clients at a time; InspIRCd lets clients in once
# a second, so it gets many.
"$target/roomd" bench --suite --floor "$target/examples/floor" \
    --against "Redis redis 127.0.0.1:16403 redis-server $work/redis.conf" \
    --against "NATS nats 127.0.0.1:16404 nats-server -a 127.0.0.1 -p 16404" \
    --against "ngircd irc 127.0.0.1:16401 --connecting 8 -- ngircd -n -f $work/ngircd.conf" \
    --against "InspIRCd irc 127.0.0.1:16402 --connecting 1000 -- inspircd --nofork $as_root --config $work/inspircd.conf" \
    "$@"
