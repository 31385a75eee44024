#!/bin/sh
# Stands in for docker: notes its calls in $FAKE/calls, plays the answers that lie in $FAKE.
echo "$*" >> "$FAKE/calls"
case "$1 $2" in
"compose version") [ ! -e "$FAKE/no-compose" ] || exit 1; exit 0 ;;
"ps --quiet")
    [ ! -e "$FAKE/no-daemon" ] || { echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock." >&2; exit 1; }
    exit 0 ;;
"image inspect") [ ! -e "$FAKE/no-images" ]; exit $? ;;
"inspect --format") cat "$FAKE/restarts-$4" 2>/dev/null || echo 0; exit 0 ;;
"ps --all") cat "$FAKE/containers" 2>/dev/null; exit 0 ;;
esac
# compose -f FILE -p PROJECT COMMAND …
[ -f "$3" ] || { echo "no file $3" >&2; exit 14; }
shift 5
verb=$1
shift
case "$verb" in
pull) [ ! -e "$FAKE/fails-pull-$1" ] || { echo "pull access denied for $1" >&2; exit 18; } ;;
up)
    for service in postgres s3 mlflow; do
        case " $* " in *" $service "*) ;; *) continue ;; esac
        [ ! -e "$FAKE/slow-$service" ] || sleep 3
        [ ! -e "$FAKE/fails-$service" ] || { echo "no room for $service" >&2; exit 18; }
        state="running	Up 1 second"
        [ ! -e "$FAKE/ends-$service" ] || state="exited	Exited (1) 1 second ago"
        printf '%s\t%s\tid-%s\n' "$service" "$state" "$service" >> "$FAKE/containers"
        [ ! -e "$FAKE/real" ] || . "$FAKE/real"
        touch "$FAKE/up-$service"
    done ;;
down)
    [ ! -e "$FAKE/real-down" ] || . "$FAKE/real-down"
    rm -f "$FAKE/containers" ;;
stop)
    for service in "$@"; do
        grep -v "^$service	" "$FAKE/containers" > "$FAKE/rest"
        mv "$FAKE/rest" "$FAKE/containers"
    done ;;
logs)
    clear=$(printf '\033[2K')
    echo "${clear}mlflow-1  | FATAL: cannot log in with $POSTGRES_PASSWORD"
    [ ! -e "$FAKE/old-tables" ] || echo "mlflow-1  | ERROR mlflow.cli: Detected out-of-date database schema (found a, but expected b)."
    echo "mlflow-1  | giving up" ;;
esac
exit 0
