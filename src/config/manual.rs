//! The long text of each code: for a terminal, and as the page `docs/diagnostics.md`.

use super::codes::Code;

/// Columns of a paragraph on a terminal.
const WIDTH: usize = 80;

const HEAD: &str = "\
# Diagnostics

Each finding in a file has a code that stays the same over versions. `tollgate check --explain CODE` prints what stands here. Of a
snippet only the blocks that matter are shown; the rest of its file is sound.

| code | tells of |
|---|---|
";

/// The long text of a code for a terminal, wrapped at 80 columns, examples set in.
#[must_use]
pub fn explain(code: Code) -> String {
    let mut out = String::new();
    wrap(&format!("{code}: {}", code.meaning()), &mut out);
    for (index, part) in code.text().split("```").enumerate() {
        // Between two fences stands an example, its language first.
        if index % 2 == 1 {
            out.push('\n');
            for line in part.lines().skip(1) {
                out.extend(["    ", line, "\n"]);
            }
        } else {
            for paragraph in part.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
                out.push('\n');
                wrap(paragraph, &mut out);
            }
        }
    }
    out
}

/// The page of all codes, as `docs/diagnostics.md` holds it.
#[must_use]
pub fn diagnostics_page() -> String {
    let mut page = HEAD.to_owned();
    for (code, meaning) in Code::ALL {
        let name = code.as_str();
        page.extend(["| [`", name, "`](#", name, ") | ", meaning, " |\n"]);
    }
    for (code, meaning) in Code::ALL {
        let mut letters = meaning.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        page.extend(["\n## ", code.as_str(), "\n\n", &first, letters.as_str(), ".\n\n", code.text()]);
    }
    page
}

/// The words in lines of at most [`WIDTH`] columns; what stands between two backticks stays in one line.
fn wrap(text: &str, out: &mut String) {
    let mut column = 0;
    let mut piece = String::new();
    for word in text.split_whitespace() {
        piece.push_str(if piece.is_empty() { "" } else { " " });
        piece.push_str(word);
        if piece.matches('`').count() % 2 == 1 {
            continue;
        }
        let width = piece.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(&piece);
        column += width;
        piece.clear();
    }
    out.push('\n');
}
