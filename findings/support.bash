# Functions for the scripts beside this file. Each script works in a temporary folder, which goes at its end.

set -euo pipefail
work=$(mktemp -d)
brokers=()

finish() {
    local status=$? broker
    for broker in "${brokers[@]}"; do
        kill "$broker" 2>/dev/null || true
        wait "$broker" 2>/dev/null || true
    done
    chmod -R u+w "$work" 2>/dev/null || true # Go's module cache is read-only
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
cd "$work"

# Installs Python packages, each with its version, and makes `python` and their programs callable.
python_packages() {
    python3 -m venv "$work/python"
    "$work/python/bin/pip" install --quiet --disable-pip-version-check "$@"
    PATH="$work/python/bin:$PATH"
}

# Installs npm packages, each with its version.
npm_packages() {
    npm install --silent --no-audit --no-fund --prefix "$work" "$@" >/dev/null
}

# Makes a Go module of the Go program on standard input, with these modules, and runs it.
go_program() {
    local module
    mkdir -p "$work/go-program"
    cat >"$work/go-program/main.go"
    (
        cd "$work/go-program"
        export GOPATH="$work/go" GOFLAGS=-mod=mod GOTOOLCHAIN=local
        go mod init finding >/dev/null 2>&1
        for module in "$@"; do go get "$module" >/dev/null 2>&1; done
        go run .
    )
}

# Starts a nats-server with a configuration file; `$broker` is its process, `$port` the port for clients.
start_broker() {
    local ports
    nats-server -c "$1" --ports_file_dir "$work" >>"$work/broker.log" 2>&1 &
    broker=$!
    brokers+=("$broker")
    ports="$work/nats-server_$broker.ports"
    for _ in {1..200}; do
        if [[ -s $ports ]]; then break; fi
        sleep 0.05
    done
    port=$(sed -n 's/.*"nats":\["nats:\/\/[^"]*:\([0-9]*\)".*/\1/p' "$ports")
    [[ -n $port ]] || { cat "$work/broker.log"; exit 1; }
    export port broker
}

# Starts three nats-servers s0, s1 and s2 with JetStream as one cluster; needs `python`. `$ports` and `$servers` are theirs.
start_three_brokers() {
    local n routes=()
    ports=() servers=()
    for n in 0 1 2; do
        routes+=("$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')")
    done
    for n in 0 1 2; do
        cat >"broker$n.conf" <<CONFIGURATION
listen: "127.0.0.1:-1"
server_name: s$n
jetstream { store_dir: "$work/store$n" }
cluster { name: c, listen: "127.0.0.1:${routes[$n]}", routes: [$(printf '"nats://127.0.0.1:%s",' "${routes[@]}")] }
CONFIGURATION
        start_broker "broker$n.conf"
        ports+=("$port") servers+=("$broker")
    done
}

# Compares the file `seen` with the expected text on standard input.
expect() {
    cat >"$work/expected"
    cat "$work/seen"
    if diff "$work/expected" "$work/seen"; then
        echo "as on 2026-11-30"
    else
        echo "This has changed since 2026-11-30." >&2
        exit 1
    fi
}
