//! When two texts name the same model.

/// Whether two names differ only in case, in `.`, `_`, `:` or a space for `-`, and in what stands before the last `/`:
/// `deepseek-ai/DeepSeek-V4-Flash` and `deepseek-v4-flash`.
#[must_use]
pub fn is_same_name(one: &str, other: &str) -> bool {
    // Most names differ in length, and this is asked of many.
    last_part(one).len() == last_part(other).len() && last_part(one).chars().map(folded).eq(last_part(other).chars().map(folded))
}

/// The one text that stands for all spellings of a name.
#[must_use]
pub fn folded_name(name: &str) -> String {
    last_part(name).chars().map(folded).collect()
}

/// The name without the date or the `latest` at its end; nothing where it has none: `claude-sonnet-4-5-20250929`, `gpt-4o-2024-08-06`.
#[must_use]
pub fn base_name(name: &str) -> Option<&str> {
    let cut = |length: usize| name.len().checked_sub(length).filter(|at| *at > 0).and_then(|at| name.split_at_checked(at));
    let (base, _) = cut(7)
        .filter(|(_, end)| end.eq_ignore_ascii_case("-latest"))
        .or_else(|| cut(9).filter(|(_, end)| is_date(end, "-yyyymmdd") && in_our_time(&end[1..5])))
        .or_else(|| cut(11).filter(|(_, end)| is_date(end, "-yyyy-mm-dd")))?;
    (!last_part(base).is_empty()).then_some(base)
}

fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn folded(letter: char) -> char {
    match letter {
        '.' | '_' | ' ' | ':' => '-',
        letter => letter.to_ascii_lowercase(),
    }
}

/// Whether a text has dashes and digits where a pattern has its dashes and letters.
fn is_date(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(letter, wanted)| if wanted == b'-' { letter == b'-' } else { letter.is_ascii_digit() })
}

/// A year in which models were made.
fn in_our_time(year: &str) -> bool {
    year.starts_with("20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_any_spelling() {
        for (one, other, same) in [
            ("gpt-4o", "GPT-4o", true),
            ("deepseek-v4-flash", "deepseek-ai/DeepSeek-V4-Flash", true),
            ("deepseek-v4-flash", "DeepSeek V4 Flash", true),
            ("claude-sonnet-4-6", "anthropic/claude-sonnet-4.6", true),
            ("accounts/fireworks/models/glm-5", "glm-5", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-5.1", "gpt-5.2", false),
            ("", "/", true),
        ] {
            assert_eq!(is_same_name(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn a_date_at_the_end_is_a_version() {
        for (name, base) in [
            ("claude-sonnet-4-5-20250929", Some("claude-sonnet-4-5")),
            ("gpt-4o-2024-08-06", Some("gpt-4o")),
            ("org/Codestral-latest", Some("org/Codestral")),
            ("kimi-k2-0905-preview", None),
            ("mistral-large-2512", None),
            ("qwen3-235b-a22b-instruct-2507", None),
            ("model-12345678", None),
            ("-20250929", None),
            ("org/-20250929", None),
            ("gpt-4o", None),
            ("日本-latest", Some("日本")),
        ] {
            assert_eq!(base_name(name), base, "{name}");
        }
    }
}
