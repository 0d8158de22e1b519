//! Thousands of single edits of sound files, as hurried hands make them: none panics, none loses anything in silence, and a misspelt
//! name is answered with the right one.
//!
//! `cargo test` makes a seeded share of them; `TOLLGATE_EDITS=5000` makes them all.

mod edits;
mod typos;
mod witness;

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use tollgate::config::{self, Severity, Style};

use crate::config::{read, yaml_files};

/// How many edits to make: a share that takes seconds, unless told otherwise.
fn count() -> usize {
    std::env::var("TOLLGATE_EDITS").ok().and_then(|count| count.parse().ok()).unwrap_or(500)
}

/// Files that load without a finding, by name.
fn sound() -> Vec<(String, String)> {
    let shipped = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("routes.yaml")).unwrap();
    yaml_files("good").into_iter().chain([("routes".into(), shipped)]).filter(|(_, text)| text.lines().count() > 10).collect()
}

/// How one edit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Refused,
    /// Taken for half of a file: the running one goes on.
    Waits,
    LoadedWhole,
    /// Something is gone, and the log says what.
    LoadedWithLosses,
}

/// What becomes of an edited file beside the running one; a text when it is what must not be.
fn end(running: &str, edited: &str) -> Result<End, String> {
    let (checked, findings) = read(edited);
    for style in [Style::Plain, Style::Colour, Style::Json, Style::Github] {
        let told = config::render(&config::Sources::new("routes.yaml", edited), &findings, style);
        if findings.is_empty() && style == Style::Plain && !told.is_empty() {
            return Err(format!("nothing was found, and this was told: {told}"));
        }
    }
    let has_errors = findings.iter().any(|finding| finding.severity == Severity::Error);
    let Some(new) = checked else {
        return if has_errors { Ok(End::Refused) } else { Err("it is refused and nothing says why".into()) };
    };
    if has_errors {
        return Err("it loads beside an error".into());
    }
    if config::half_written(running, edited).is_some() {
        return Ok(End::Waits);
    }
    let old = read(running).0.unwrap();
    let told = config::losses(&old, &new);
    let gone: Vec<String> = witness::lost(running, edited);
    match gone.iter().find(|thing| !witness::is_told(thing, &told)) {
        Some(thing) => Err(format!("{thing} is gone, and only this is told: {told:?}")),
        None if gone.is_empty() && told.is_empty() => Ok(End::LoadedWhole),
        None => Ok(End::LoadedWithLosses),
    }
}

#[test]
fn no_single_edit_panics_or_loses_anything_in_silence() {
    let mut chance = Rng::with_seed(20_260_601);
    let files = sound();
    let mut ends: BTreeMap<(edits::Kind, End), usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for number in 0..count() {
        let (name, text) = &files[chance.usize(..files.len())];
        let kind = edits::Kind::ALL[number % edits::Kind::ALL.len()];
        let edited = kind.apply(text, &mut chance);
        match std::panic::catch_unwind(|| end(text, &edited)) {
            Ok(Ok(end)) => *ends.entry((kind, end)).or_default() += 1,
            Ok(Err(why)) => wrong.push(format!("{name}, {kind:?}: {why}\n{}", edits::difference(text, &edited))),
            Err(_) => wrong.push(format!("{name}, {kind:?}: it panicked\n{}", edits::difference(text, &edited))),
        }
    }
    let of = |wanted| ends.iter().filter(|((_, end), _)| *end == wanted).map(|(_, count)| count).sum::<usize>();
    println!(
        "{} edits: {} refused, {} wait for the rest, {} load with every loss named, {} load whole",
        count(),
        of(End::Refused),
        of(End::Waits),
        of(End::LoadedWithLosses),
        of(End::LoadedWhole)
    );
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), count(), wrong[..wrong.len().min(10)].join("\n\n"));
    // Each of the four happens, or the test proves less than it says.
    let seen: BTreeSet<End> = ends.keys().map(|(_, end)| *end).collect();
    assert_eq!(seen.len(), 4, "{ends:?}");
}

#[test]
fn misspelt_names_are_answered_with_the_right_one() {
    let mut chance = Rng::with_seed(7);
    let files = sound();
    let names: Vec<Vec<typos::Name>> = files.iter().map(|(_, text)| typos::names(text)).collect();
    let (mut right, mut all) = (0, 0);
    let mut missed: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..count() {
        let at = chance.usize(..files.len());
        let (text, name) = (&files[at].1, &names[at][chance.usize(..names[at].len())]);
        let Some(typo) = typos::misspell(&text[name.range.clone()], &mut chance) else { continue };
        all += 1;
        match typos::verdict(text, name, &typo) {
            Ok(()) => right += 1,
            Err(said) => *missed.entry(said).or_default() += 1,
        }
    }
    let share = 100.0 * f64::from(right) / f64::from(all);
    println!("{all} typos: {share:.1} % have the right suggestion");
    for said in missed.keys().take(if share < 95.0 { 60 } else { 20 }) {
        println!("  {said}");
    }
    assert!(share >= 95.0, "only {share:.1} % of {all} typos");
}
