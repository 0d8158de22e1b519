//! Parses the command line, runs it, tells the exit code.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Reuses the memory that was freed last, which is still warm, and gives back what is idle: see docs/performance.md.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    tollgate::cli::run()
}
