#!/bin/sh
# Answers per second of the name server in a container, asked by 8 clients in its own network namespace (dnsperf).
#
#   bench/names.sh PID NAME [NAME…]     PID: a process of the container; NAMEs: containers on its network
#
# The same line measures Docker's: the pid is what `docker inspect -f '{{.State.Pid}}'` says. Compare in one sitting.
set -eu
pid=$1
shift
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for name; do echo "$name A"; done >"$dir/queries"
for round in 1 2 3; do
    # -v prints each answer, with the time it took at the end.
    nsenter -t "$pid" -n dnsperf -v -s 127.0.0.11 -d "$dir/queries" -c 8 -T 1 -l 5 >"$dir/out" 2>/dev/null
    awk '$1 == ">" { print $NF }' "$dir/out" | sort -n >"$dir/times"
    p99=$(sed -n "$(($(wc -l <"$dir/times") * 99 / 100))p" "$dir/times")
    awk -v round="$round" -v p99="$p99" '
        /Queries per second/ { rate = $4 }
        /Queries lost/ { lost = $3 }
        END { printf "round %s: %.0f answers/s, 99 of 100 within %.1f ms, %s lost\n", round, rate, p99 * 1000, lost }
    ' "$dir/out"
done
