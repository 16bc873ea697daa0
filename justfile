# Shortcuts for `just`, which is not needed: each recipe is a list of plain commands.

# List the recipes
default:
    @just --list

# Less than three minutes on two cores, once everything was built
quick:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo test --locked -p natter-common -p natter-simulation --lib --test transcripts --test replica_manager --test frontend

# All that CI checks
full:
    bash .ci/run

# One random history again, with all that happens in it
seed number:
    SIM_SEED={{number}} cargo test -p natter-simulation --test simulation -- --nocapture

# A cluster with a live page and a menu
cluster:
    cargo run --release --bin cluster -- --observe 1 3 42

# Documentation of all crates
doc:
    cargo doc --workspace --no-deps --open
