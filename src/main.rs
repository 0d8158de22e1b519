//! Parses the command line, runs it, tells the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tollgate::cli::run()
}
