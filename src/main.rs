//! Parses the command line, runs it, tells the exit code.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Reuses warm memory for the bodies of requests, where the system's allocator hands them back: see docs/performance.md.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    tollgate::cli::run()
}
