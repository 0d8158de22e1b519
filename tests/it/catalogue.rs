//! What the catalogue gives a file that says little, and what the file overrides.

use tollgate::config::{Checked, Key};
use tollgate::rules::{Revision, RuleSet};
use tollgate::units::{Format, Need};

use crate::config::read;

fn sound(providers: &str, chain: &str) -> Checked {
    let (checked, findings) = read(&format!("version: 1\nproviders:\n{providers}default: {{ chain: [{chain}] }}\n"));
    checked.unwrap_or_else(|| panic!("{findings:#?}"))
}

fn target<'c>(checked: &'c Checked, name: &str) -> &'c tollgate::config::Target {
    checked.targets.iter().find(|target| target.name.as_str() == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn an_entry_with_nothing_in_it_takes_everything() {
    let checked = sound("  deepseek: {}\n", "deepseek/deepseek-v4-flash");
    let provider = &checked.providers[0];
    assert_eq!(provider.format, Format::OpenAi);
    assert_eq!(provider.base_url.as_ref().unwrap().host(), Some("api.deepseek.com"));
    assert_eq!(provider.key, Key::Missing("DEEPSEEK_API_KEY".into()));
    assert_eq!(checked.targets.len(), 4);
    let flash = target(&checked, "deepseek/deepseek-v4-flash");
    let prices = flash.prices.as_ref().unwrap();
    assert_eq!((prices.input.nano(), prices.output.nano(), prices.cache_read.unwrap().nano()), (140_000_000, 280_000_000, 28_000_000));
    assert_eq!((flash.context.unwrap().count(), flash.max_output.unwrap().count()), (1_000_000, 384_000));
    assert!(flash.reasons() && !flash.can.as_ref().unwrap().contains(&Need::Vision));
}

#[test]
fn where_its_own_format_is_not_spoken_yet_its_openai_endpoint_serves() {
    let checked = sound("  anthropic: {}\n  gemini: {}\n  cohere: {}\n", "anthropic/claude-sonnet-4-6");
    let urls: Vec<String> = checked.providers.iter().map(|provider| provider.base_url.as_ref().unwrap().to_string()).collect();
    assert_eq!(
        urls,
        ["https://api.anthropic.com/", "https://generativelanguage.googleapis.com/v1beta/openai", "https://api.cohere.ai/compatibility/v1"]
    );
    let formats: Vec<Format> = checked.providers.iter().map(|provider| provider.format).collect();
    assert_eq!(formats, [Format::Anthropic, Format::OpenAi, Format::OpenAi]);
}

#[test]
fn the_file_overrides_any_of_it() {
    let entry = "  openai:\n    api_key: ${PRESENT}\n    can: [tools]\n    models:\n      gpt-4o: { usd_per_mtok: { input: 1, output: 2 }, context: 8k }\n";
    let checked = sound(entry, "openai/gpt-4o, openai/gpt-5-nano");
    // What the file lists, and what a chain names: nothing that a client could ask for besides.
    let names: Vec<&str> = checked.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["openai/gpt-4o", "openai/gpt-5-nano"]);
    let gpt = target(&checked, "openai/gpt-4o");
    let prices = gpt.prices.as_ref().unwrap();
    assert_eq!((prices.input.nano(), prices.cache_read), (1_000_000_000, None));
    assert_eq!((gpt.context.unwrap().count(), gpt.max_output.unwrap().count()), (8_000, 8_000));
    assert_eq!(gpt.can.as_deref(), Some(&[Need::Tools][..]));
    assert!(matches!(checked.providers[0].key, Key::Present(_)));
    assert_eq!(target(&checked, "openai/gpt-5-nano").context.unwrap().count(), 400_000);
}

#[test]
fn like_copies_the_file_first_and_else_the_catalogue() {
    let entry = "  openai: { like: openai, models: { gpt-4o: {} }, limits: { concurrent: 3 } }\n  eu: { like: openai, base_url: \"https://eu.api.openai.com/v1\", api_key: \"${PRESENT}\" }\n  fast: { like: groq }\n";
    let checked = sound(entry, "eu/gpt-4o, openai/gpt-4o, fast/llama-3.1-8b-instant");
    assert_eq!(checked.providers[1].limits.concurrent.unwrap().get(), 3);
    assert_eq!(target(&checked, "eu/gpt-4o").prices, target(&checked, "openai/gpt-4o").prices);
    assert_eq!(checked.providers[2].key, Key::Missing("GROQ_API_KEY".into()));
}

#[test]
fn a_known_key_goes_to_its_own_host_alone() {
    for (url, key) in [
        ("https://api.openai.com/v1", Key::Missing("OPENAI_API_KEY".into())),
        ("https://proxy.example.com/v1", Key::NotNeeded),
        ("http://127.0.0.1:9000/v1", Key::NotNeeded),
    ] {
        let checked = sound(&format!("  openai: {{ base_url: \"{url}\" }}\n"), "openai/gpt-4o");
        assert_eq!(checked.providers[0].key, key, "{url}");
    }
}

#[test]
fn the_offline_provider_stays_what_it_is_under_any_name() {
    let checked = sound("  openai: { format: sandbox, models: { gpt-4o: {} } }\n", "openai/gpt-4o");
    let target = target(&checked, "openai/gpt-4o");
    assert_eq!((checked.targets.len(), target.context, target.prices.as_ref().unwrap().input.nano()), (1, None, 0));
    assert_eq!(checked.providers[0].key, Key::NotNeeded);
}

#[test]
fn a_dated_version_is_a_target_of_its_own_and_another_spelling_is_not() {
    let checked = sound("  openai: {}\n", "openai/gpt-4o-2024-08-06, openai/GPT-5-Nano");
    assert_eq!(checked.targets.len(), 19);
    assert_eq!(target(&checked, "openai/gpt-4o-2024-08-06").prices, target(&checked, "openai/gpt-4o").prices);
    assert!(checked.targets.iter().all(|target| target.model.as_str() != "GPT-5-Nano"));
}

#[test]
fn clients_find_a_target_under_the_names_that_people_write() {
    let checked = sound("  openai: {}\n  deepseek: {}\n  together: {}\n", "openai/gpt-4o");
    let revision = Revision { number: 1, hash: String::new() };
    let rules = RuleSet::from((checked, revision));
    for (requested, found) in [
        ("gpt-4o", &["openai/gpt-4o"][..]),
        ("GPT-4o", &["openai/gpt-4o"]),
        ("OpenAI/GPT-4o", &["openai/gpt-4o"]),
        ("gpt-4o-2024-08-06", &["openai/gpt-4o"]),
        // It has another price.
        ("gpt-4o-2024-05-13", &[]),
        // Spelled exactly so by one of them.
        ("deepseek-ai/DeepSeek-V4-Pro", &["together/deepseek-ai/DeepSeek-V4-Pro"]),
        ("DeepSeek-V4-Pro", &["deepseek/deepseek-v4-pro", "together/deepseek-ai/DeepSeek-V4-Pro"]),
        ("deepseek-ai/deepseek-v4-flash", &["deepseek/deepseek-v4-flash"]),
        ("gpt-oss-120b", &["together/openai/gpt-oss-120b"]),
        ("auto", &[]),
        ("gpt-9", &[]),
    ] {
        let names: Vec<&str> = rules.targets_named(requested).iter().map(|at| rules.targets()[*at].name.as_str()).collect();
        assert_eq!(names, found, "{requested}");
    }
}

#[test]
fn the_page_tells_what_the_binary_knows() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/catalogue.md");
    let now = tollgate::catalog::catalogue_page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), now, "UPDATE_GOLDEN=1 writes it");
}
