//! When two texts name the same model.

use std::collections::HashMap;

use super::catalog;

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

/// Models that go by several names, none of which is another spelling of the first.
#[derive(Debug, Default)]
pub struct Families(HashMap<Box<str>, Box<str>>);

impl Families {
    /// The first name of each family stands for all of it.
    pub(super) fn new(families: &[Vec<String>]) -> Self {
        let one = |family: &Vec<String>| {
            let first = family.first().map(|name| folded_name(name)).unwrap_or_default();
            family.iter().map(|name| (folded_name(name).into(), first.as_str().into())).collect::<Vec<_>>()
        };
        Self(families.iter().flat_map(one).collect())
    }

    /// The one text that stands for all spellings of a name, and for all names of its model.
    #[must_use]
    pub fn family_name(&self, name: &str) -> Box<str> {
        let folded = folded_name(name);
        self.0.get(folded.as_str()).cloned().unwrap_or_else(|| folded.into())
    }

    /// Every name of the model that a name means, where it has several.
    pub fn names<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f str> + use<'f> {
        let family = self.0.get(folded_name(name).as_str());
        self.0.iter().filter(move |(_, first)| Some(*first) == family).map(|(name, _)| &**name)
    }
}

/// The same name with one thing less around it that says nothing of the model: how or where it is served, which version of it,
/// who makes it. Nothing where there is no such thing left.
///
/// `claude-sonnet-4-5@20250929`, `us.anthropic.claude-sonnet-4-5-20250929-v1:0`, `deepseek-r1:free`, `gpt-oss-120b:groq`,
/// `openai:gpt-4o`.
#[must_use]
pub fn plainer_name(name: &str) -> Option<&str> {
    let plainer = base_name(name).or_else(|| without_tag(name)).or_else(|| without_bedrock(name)).or_else(|| without_maker(name))?;
    (!last_part(plainer).is_empty()).then_some(plainer)
}

/// What aggregators and servers put behind a name for the way it is served. Others, as `:thinking` and `:online`, change the answer.
const SERVED: [&str; 8] = ["free", "nitro", "floor", "exacto", "beta", "fastest", "cheapest", "latest"];

fn without_tag(name: &str) -> Option<&str> {
    if let Some((base, version)) = name.rsplit_once('@') {
        let is_version = version == "latest" || version == "default" || is_date(version, "yyyymmdd") || is_date(version, "yyyy-mm-dd");
        return is_version.then_some(base);
    }
    let (base, tag) = name.rsplit_once(':')?;
    let is_served = SERVED.iter().any(|word| tag.eq_ignore_ascii_case(word)) || catalog().provider(tag).is_some();
    (is_served && !tag.contains('/')).then_some(base)
}

/// Amazon's names: a region, the maker, the model, a version of its own.
fn without_bedrock(name: &str) -> Option<&str> {
    const REGIONS: [&str; 7] = ["us", "us-gov", "eu", "apac", "jp", "au", "global"];
    const MAKERS: [&str; 11] =
        ["anthropic", "openai", "meta", "mistral", "deepseek", "qwen", "moonshot", "moonshotai", "minimax", "google", "nvidia"];
    if let Some((base, version)) = name.rsplit_once(':')
        && version.bytes().all(|digit| digit.is_ascii_digit())
        && let Some((model, major)) = base.rsplit_once('-')
        && !major.trim_start_matches('v').is_empty()
        && major.trim_start_matches('v').bytes().all(|digit| digit.is_ascii_digit())
    {
        return Some(model);
    }
    let (first, rest) = last_part(name).split_once('.')?;
    let is_place = REGIONS.contains(&first) && rest.split_once('.').is_some_and(|(maker, _)| MAKERS.contains(&maker));
    (is_place || MAKERS.contains(&first)).then_some(rest)
}

/// `openai:gpt-4o`, as some libraries write it.
fn without_maker(name: &str) -> Option<&str> {
    let (maker, model) = name.split_once(':')?;
    catalog().provider(maker).is_some().then_some(model)
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

    #[test]
    fn what_stands_around_a_name_comes_off_one_by_one() {
        for (name, plainer) in [
            ("claude-sonnet-4-5@20250929", Some("claude-sonnet-4-5")),
            ("gemini-2.5-pro@default", Some("gemini-2.5-pro")),
            ("user@example.com", None),
            ("deepseek/deepseek-r1:free", Some("deepseek/deepseek-r1")),
            ("z-ai/glm-5:NITRO", Some("z-ai/glm-5")),
            ("anthropic/claude-sonnet-4.5:thinking", None),
            ("openai/gpt-5.2:online", None),
            ("openai/gpt-oss-120b:groq", Some("openai/gpt-oss-120b")),
            ("llama3.3:70b", None),
            ("llama3.3:latest", Some("llama3.3")),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", Some("us.anthropic.claude-sonnet-4-5-20250929")),
            ("us.anthropic.claude-sonnet-4-5", Some("anthropic.claude-sonnet-4-5")),
            ("anthropic.claude-sonnet-4-5", Some("claude-sonnet-4-5")),
            ("openai.gpt-oss-120b-1:0", Some("openai.gpt-oss-120b")),
            ("openai:gpt-4o", Some("gpt-4o")),
            ("anthropic:claude-sonnet-4-5-20250929", Some("anthropic:claude-sonnet-4-5")),
            ("grok-4.3", None),
            ("us.", None),
            (":free", None),
            ("@latest", None),
            ("openai:", None),
            ("", None),
        ] {
            assert_eq!(plainer_name(name), plainer, "{name}");
        }
    }
}
