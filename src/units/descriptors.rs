use std::io;

/// `EMFILE`: the process has as many descriptors open as it may. `ENFILE`: the machine has.
const NONE_LEFT: [i32; 2] = [24, 23];

/// Whether something failed because there was no descriptor left for it.
#[must_use]
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| NONE_LEFT.contains(&code))
}
