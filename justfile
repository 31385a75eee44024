# Recipes of the project: `just` lists them. https://just.systems

default:
    @just --list

# Build the program with all optimisations, into target/release/yolo11
build:
    cargo build --release

# Train on the generated demo set
demo:
    cargo run --release -- train data=demo

# Run every test; YOLO11_SHARED names the folder with the reference data, without it those tests are skipped
test *arguments:
    cargo test --workspace --release {{ arguments }}

# Format every file
format:
    cargo fmt --all

# Check the form of the code without changing it
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Check licences, advisories and sources of the dependencies (needs cargo-deny)
deny:
    cargo deny check

# Write the tables of docs/configuration.md anew from the settings
docs:
    UPDATE_DOCS=1 cargo test --package yolo11-config --test documentation
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Time a training step, an inference and the loader on this machine
benchmark *settings:
    cargo run --release -- benchmark train {{ settings }}
    cargo run --release -- benchmark infer {{ settings }}
    cargo run --release -- benchmark loader data=demo {{ settings }}

# All that a change must pass
check: lint test
