#!/usr/bin/env bash
# Makes images for the compose stack out of packages of Debian and PyPI, under the very names that .env has, where no image registry can be
# reached: PostgreSQL, MLflow, and the test servers' S3 store, which checks signatures. As root, with debootstrap and Docker; then, in an empty
# folder, with AWS_ACCESS_KEY_ID=test-key and AWS_SECRET_ACCESS_KEY=test-secret-value in its .env: yolo11 services start --stack compose.
#
#   cargo build --release -p yolo11-test-servers --bin s3-server
#   crates/services/examples/stand-in-images.sh target/release/s3-server
set -euo pipefail
store=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
root=$folder/root
debootstrap --variant=minbase --include=python3,python3-venv,postgresql,netcat-openbsd,ca-certificates,socat bookworm "$root" > /dev/null
# What this machine trusts and how it finds hosts.
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
chroot "$root" python3 -m venv /venv
chroot "$root" /venv/bin/pip install --quiet --no-cache-dir mlflow boto3 psycopg2-binary
cp "$store" "$root/usr/local/bin/s3-server"

cat > "$root/usr/local/bin/postgres-entry" << 'ENTRY'
#!/bin/bash
# As the official image: the first start sets the database up behind a socket only.
set -e
bin=/usr/lib/postgresql/15/bin data=/var/lib/postgresql/15/docker
mkdir -p /var/run/postgresql "$data"
chown -R postgres /var/run/postgresql /var/lib/postgresql
as() { runuser -u postgres -- "$@"; }
if [ ! -s "$data/PG_VERSION" ]; then
    password=$(mktemp)
    echo "$POSTGRES_PASSWORD" > "$password"
    chown postgres "$password"
    as "$bin/initdb" -D "$data" -U "$POSTGRES_USER" --pwfile="$password" -A scram-sha-256 --no-sync
    rm "$password"
    echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
    as "$bin/pg_ctl" -D "$data" -o "-c listen_addresses=''" -w start
    PGPASSWORD=$POSTGRES_PASSWORD as "$bin/createdb" -U "$POSTGRES_USER" "$POSTGRES_DB"
    as "$bin/pg_ctl" -D "$data" -m fast -w stop
fi
exec runuser -u postgres -- "$bin/postgres" -D "$data" -c listen_addresses='*'
ENTRY
cat > "$root/usr/local/bin/s3-entry" << 'ENTRY'
#!/bin/bash
# `mini -dir=/data` listens as SeaweedFS does, `server /data` as MinIO does.
case "$1" in
mini) port=8333 folder=${2#-dir=} ;;
server) port=9000 folder=$2 ;;
*) echo "unknown command $1"; exit 2 ;;
esac
socat "TCP-LISTEN:$port,fork,reuseaddr" TCP:127.0.0.1:7000 &
exec s3-server "$folder" 7000
ENTRY
chmod 755 "$root"/usr/local/bin/*

tar -C "$root" --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' -c . | docker import - yolo11-stand-in > /dev/null
image() {
    local container
    container=$(docker create yolo11-stand-in /bin/true)
    docker commit "${@:2}" "$container" "$1" > /dev/null
    docker rm "$container" > /dev/null
    echo "$1"
}
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
image postgres:18.6 --change 'ENTRYPOINT ["postgres-entry"]' --change "ENV PATH=/usr/lib/postgresql/15/bin:$path"
image chrislusf/seaweedfs:4.47 --change 'ENTRYPOINT ["s3-entry"]' --change "ENV PATH=$path"
image ghcr.io/mlflow/mlflow:v3.18.0-full --change "ENV PATH=/venv/bin:$path"
