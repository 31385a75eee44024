//! Runs a network.
