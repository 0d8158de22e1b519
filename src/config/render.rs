//! Findings for people, as JSON, and as annotations of a code host.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_json::json;

use super::codes::Code;
use super::diagnostic::{Diagnostic, Place, Severity};
use super::{Sources, mask};

/// How findings are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For a file or a pipe.
    Plain,
    /// For a terminal, in colour.
    Colour,
    /// One JSON object.
    Json,
    /// GitHub's `::error file=…` lines.
    Github,
}

/// All findings as one text that ends with a line break; nothing when there are none, but for JSON.
/// `sources` is what [`super::read`] was given.
#[must_use]
pub fn render(sources: &Sources, findings: &[Diagnostic], style: Style) -> String {
    match style {
        Style::Plain => for_people(sources, findings, &Renderer::plain()),
        Style::Colour => for_people(sources, findings, &Renderer::styled()),
        Style::Json => {
            let (errors, warnings) = counts(findings);
            let mut findings = findings.to_vec();
            sources.name_in(&mut findings);
            format!("{}\n", json!({ "file": sources.name(0), "errors": errors, "warnings": warnings, "findings": findings }))
        }
        Style::Github => findings.iter().map(|finding| annotation(&sources.name(finding.place.file), finding)).collect(),
    }
}

/// How many errors and warnings there are.
fn counts(findings: &[Diagnostic]) -> (usize, usize) {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    (errors, findings.len() - errors)
}

fn for_people(sources: &Sources, findings: &[Diagnostic], renderer: &Renderer) -> String {
    let mut out = String::new();
    for finding in findings {
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let file = sources.name(finding.place.file);
        let (source, line_start, span) = excerpt(sources.text(finding.place.file), finding.place);
        let is_secret = matches!(finding.code, Code::BAD_SECRET | Code::PLAIN_SECRET | Code::BAD_HASH);
        let source = mask::line(source, is_secret.then(|| span.clone()));
        let mut group = level
            .primary_title(finding.message.as_str())
            .id(finding.code.as_str())
            .element(Snippet::source(source).line_start(line_start).path(file.as_str()).annotation(AnnotationKind::Primary.span(span)));
        if let Some(hint) = &finding.hint {
            group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    let file = told_files(sources, findings);
    match counts(findings) {
        (0, 0) => {}
        (errors, 0) => line(&mut out, &format!("{} in {file}", many(errors, "error"))),
        (0, warnings) => line(&mut out, &format!("{} in {file}", many(warnings, "warning"))),
        (errors, warnings) => line(&mut out, &format!("{} and {} in {file}", many(errors, "error"), many(warnings, "warning"))),
    }
    out
}

/// The file that all findings are in, or how many they are spread over.
fn told_files(sources: &Sources, findings: &[Diagnostic]) -> String {
    let files: BTreeSet<usize> = findings.iter().map(|finding| finding.place.file).collect();
    match files.first() {
        Some(file) if files.len() == 1 => sources.name(*file),
        _ => format!("{} files", files.len()),
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// `1 rule`, `2 rules`.
#[must_use]
pub fn many(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The line of a finding, its number, and the part to underline. The crate counts columns from the text it is given, so it
/// gets whole lines; a place that begins at a map is marked to the end of its line.
fn excerpt(text: &str, place: Place) -> (&str, usize, std::ops::Range<usize>) {
    let start = floor(text, place.start);
    let line_begin = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let source = text[line_begin..line_end].trim_end_matches('\r');
    let from = (start - line_begin).min(source.len());
    let wanted = floor(text, place.end.max(start)).saturating_sub(line_begin).min(source.len());
    let to = if wanted > from { wanted } else { word_end(source, from) };
    (source, place.line.max(1), from..to)
}

/// Where the word at `from` ends, for places without an extent of their own.
fn word_end(source: &str, from: usize) -> usize {
    let rest = &source[from..];
    let end = rest.find(|c: char| c.is_whitespace() || ",:[]{}".contains(c)).unwrap_or(rest.len());
    if end > 0 { from + end } else { from + rest.chars().next().map_or(0, char::len_utf8) }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

fn annotation(file: &str, finding: &Diagnostic) -> String {
    let Diagnostic { code, severity, message, file: _, place, hint } = finding;
    let mut body = message.clone();
    if let Some(hint) = hint {
        // Writing to a String cannot fail.
        _ = write!(body, "\nhint: {hint}");
    }
    let escaped = body.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let file = file.replace('%', "%25").replace(',', "%2C").replace(':', "%3A");
    format!("::{severity} file={file},line={},col={},title={code}::{escaped}\n", place.line, place.column)
}
