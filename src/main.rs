//! The thin binary: parse arguments, run, print the error chain, exit code.

fn main() {}
