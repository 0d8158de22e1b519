//! Whether the write-ahead log beside the file is what a writer leaves, or something else.
//!
//! SQLite takes up the frames whose checksums hold and silently leaves the rest, which is right for the torn end that a power cut leaves
//! and wrong for a log that was damaged in its middle: there, commits that were safe on disk would be forgotten.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::error::LedgerError;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The log of that file.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Refuses a log that holds more than one commit behind its first broken frame: at most the last commit was ever on its way when a
/// process or a machine died. Must not run while this process has the file open.
pub(super) fn check(path: &Path) -> Result<(), LedgerError> {
    let wal = beside(path);
    let file = match File::open(&wal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| LedgerError::io(&wal, &error))?,
    };
    let what = read(BufReader::with_capacity(1 << 20, file)).map_err(|error| LedgerError::io(&wal, &error))?;
    match what {
        Log::Sound => Ok(()),
        Log::Foreign => Err(LedgerError::corrupt(&wal, "it is no write-ahead log")),
        Log::Broken { commits } => {
            Err(LedgerError::corrupt(&wal, format!("{commits} commits stand behind a frame whose checksum does not hold")))
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Log {
    Sound,
    Foreign,
    Broken { commits: u64 },
}

fn read(mut from: impl Read) -> io::Result<Log> {
    let mut header = [0; HEADER];
    if !fill(&mut from, &mut header)? {
        // Shorter than a header: the first write was cut.
        return Ok(Log::Sound);
    }
    let Some((salt, size, is_big)) = header_of(&header) else {
        // A file system may have kept the length of a first write and lost its bytes.
        return Ok(if header.iter().all(|byte| *byte == 0) { Log::Sound } else { Log::Foreign });
    };
    let mut sum = checksum((0, 0), &header[..24], is_big);
    let mut frame = vec![0; FRAME_HEADER + size];
    let (mut is_broken, mut commits) = (false, 0);
    while fill(&mut from, &mut frame)? {
        if frame[8..16] != salt {
            // Left from before the log began anew.
            break;
        }
        if !is_broken {
            sum = checksum(checksum(sum, &frame[..8], is_big), &frame[FRAME_HEADER..], is_big);
            is_broken = (word(&frame[16..]), word(&frame[20..])) != sum;
        }
        if is_broken && word(&frame[4..]) != 0 {
            commits += 1;
        }
    }
    Ok(if commits > 1 { Log::Broken { commits } } else { Log::Sound })
}

/// Salts, page size and byte order of the checksums, where the header holds.
fn header_of(header: &[u8; HEADER]) -> Option<([u8; 8], usize, bool)> {
    let is_big = match word(header) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return None,
    };
    let size = usize::try_from(word(&header[8..])).ok().filter(|size| size.is_power_of_two() && (512..=65_536).contains(size))?;
    let sound = (word(&header[24..]), word(&header[28..])) == checksum((0, 0), &header[..24], is_big);
    let salt = header[16..24].try_into().ok()?;
    sound.then_some((salt, size, is_big))
}

/// SQLite's running checksum over pairs of words.
fn checksum(from: (u32, u32), bytes: &[u8], is_big: bool) -> (u32, u32) {
    let number = |bytes: &[u8]| if is_big { word(bytes) } else { word(bytes).swap_bytes() };
    bytes.chunks_exact(8).fold(from, |(first, second), pair| {
        let first = first.wrapping_add(number(pair)).wrapping_add(second);
        let second = second.wrapping_add(number(&pair[4..])).wrapping_add(first);
        (first, second)
    })
}

/// The big-endian word at the beginning.
fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk().copied().map_or(0, u32::from_be_bytes)
}

/// Fills the buffer, or answers false where the rest is shorter.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    }
}
