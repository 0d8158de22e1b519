use std::collections::BTreeSet;

use super::*;
use crate::units::{ModelName, ProviderName, Tokenizer};

fn read() -> Catalog {
    facts::read(facts::TEXT).unwrap()
}

fn is_day(text: &str) -> bool {
    text.parse::<jiff::civil::Date>().is_ok()
}

#[test]
fn every_provider_is_sound() {
    let catalog = read();
    let mut names = BTreeSet::new();
    for provider in &catalog.providers {
        for name in std::iter::once(&provider.name).chain(&provider.aliases) {
            assert!(ProviderName::parse(name).is_ok() && names.insert(name.clone()), "{name}");
        }
        let urls = [Some(&provider.base_url), provider.openai_url.as_ref(), provider.anthropic_url.as_ref(), provider.docs.as_ref()];
        for url in urls.into_iter().flatten() {
            assert!(url.starts_with("https://") && url.parse::<http::Uri>().is_ok(), "{url}");
        }
        assert!(catalog.sources.iter().any(|(source, _)| *source == provider.base_url_source), "{}", provider.name);
        assert!(provider.key_variable.bytes().all(|letter| letter.is_ascii_uppercase() || letter == b'_'), "{}", provider.key_variable);
        assert!(provider.reachable().is_some(), "{}: nothing here speaks its format", provider.name);
        assert!(!provider.models.is_empty() && !provider.title.is_empty());
    }
    assert!(catalog.providers.is_sorted_by(|one, next| one.name < next.name));
}

#[test]
fn every_model_is_sound() {
    let catalog = read();
    for (provider, model) in catalog.providers.iter().flat_map(|provider| provider.models.iter().map(move |model| (provider, model))) {
        let name = format!("{}/{}", provider.name, model.name);
        assert!(ModelName::parse(&model.name).is_ok(), "{name}");
        let prices = &model.prices;
        assert!(prices.input > Price::ZERO && (prices.output > Price::ZERO) != model.embeds, "{name}");
        assert!(prices.cache_read.is_none_or(|read| read <= prices.input), "{name}");
        assert!(prices.cache_write.is_none_or(|write| write > Price::ZERO), "{name}");
        assert!(model.reasoning.is_none_or(|reasoning| reasoning <= prices.output), "{name}");
        assert!(prices.tiers.is_sorted_by(|one, next| one.above < next.above), "{name}");
        assert!(prices.tiers.iter().all(|tier| tier.input > prices.input && tier.output >= prices.output), "{name}");
        if let (Some(context), Some(output)) = (model.context, model.max_output) {
            assert!(Tokens::ZERO < output && output <= context, "{name}");
            assert!(prices.tiers.iter().all(|tier| tier.above < context), "{name}");
        }
        let released = model.released.as_ref().map(|day| if day.len() == 7 { format!("{day}-01") } else { day.clone() });
        assert!(is_day(&model.as_of) && released.is_none_or(|day| is_day(&day)), "{name}");
        assert!(catalog.sources.iter().any(|(source, _)| *source == model.source), "{name}");
    }
}

#[test]
fn there_are_more_than_enough_each_with_its_day_and_source() {
    let catalog = read();
    let priced = |provider: &&CatalogProvider| provider.models.iter().any(|model| model.prices.input > Price::ZERO);
    assert!(catalog.providers.iter().filter(priced).count() >= 40);
    let models: Vec<&CatalogModel> = catalog.providers.iter().flat_map(|provider| &provider.models).collect();
    assert!(models.len() >= 700, "{}", models.len());
    let texts: usize = models.iter().filter(|model| !model.embeds && !model.source.is_empty() && is_day(&model.as_of)).count();
    assert!(texts >= 184 && models.iter().any(|model| model.embeds), "{texts}");
    // As many by what they are: a model that several sell counts once.
    let families: BTreeSet<Box<str>> = models.iter().map(|model| catalog.families.family_name(&model.name)).collect();
    assert!(families.len() >= 184, "{}", families.len());
}

#[test]
fn no_two_models_of_a_provider_have_one_name() {
    for provider in read().providers {
        let mut called = BTreeSet::new();
        for model in &provider.models {
            for name in &model.called {
                assert!(called.insert(name.clone()), "{}/{name}", provider.name);
            }
            // What a family says need not be said again.
            assert_eq!(model.called.len(), 1 + model.aliases.len(), "{}/{}", provider.name, model.name);
        }
    }
}

#[test]
fn no_name_is_in_two_families() {
    let file: serde_json::Value = serde_json::from_str(facts::TEXT).unwrap();
    let mut names = BTreeSet::new();
    for name in file["families"].as_array().unwrap().iter().flat_map(|family| family.as_array().unwrap()) {
        assert!(names.insert(folded_name(name.as_str().unwrap())), "{name}");
    }
}

#[test]
fn models_are_found_under_the_names_that_people_write() {
    for (provider, name, found) in [
        ("openai", "gpt-4o", Some("gpt-4o")),
        ("OpenAI", "GPT-4o", Some("gpt-4o")),
        ("openai", "gpt-4o-2024-08-06", Some("gpt-4o")),
        ("openai", "gpt-4o-2024-05-13", Some("gpt-4o-2024-05-13")),
        ("groq", "Llama-3.3-70B-Instruct", Some("llama-3.3-70b-versatile")),
        ("cerebras", "glm-4.7", Some("zai-glm-4.7")),
        ("anthropic", "claude-sonnet-4-20250514", Some("claude-sonnet-4-0")),
        ("openai", "gpt-4o-audio", None),
        ("anthropic", "claude-sonnet-4-5-20250929", Some("claude-sonnet-4-5")),
        ("anthropic", "claude-sonnet-4.5", Some("claude-sonnet-4-5")),
        ("deepseek", "deepseek-ai/DeepSeek-V4-Flash", Some("deepseek-v4-flash")),
        ("fireworks", "kimi-k2.5", Some("accounts/fireworks/models/kimi-k2p5")),
        ("mistral", "codestral", Some("codestral-latest")),
        ("gemini", "gemini-2.5-pro", Some("gemini-2.5-pro")),
        ("together", "gpt-oss-120b", Some("openai/gpt-oss-120b")),
    ] {
        let model = catalog().provider(provider).unwrap().model(name);
        assert_eq!(model.map(|model| model.name.as_str()), found, "{provider}/{name}");
    }
    assert_eq!(catalog().named("global-apis/gpt-4o").len(), 1);
    assert_eq!(catalog().named("openai:gpt-4o-2024-11-20").len(), catalog().named("gpt-4o").len());
    assert_eq!(catalog().named("us.anthropic.claude-sonnet-4-5-20250929-v1:0")[0].1.name, "claude-sonnet-4-5");
    assert!(catalog().named("Qwen3-32B").len() > 5);
    assert!(catalog().named("gpt-9").is_empty());
}

#[test]
fn facts_that_are_wrong_are_told() {
    let facts = |price: &str, can: &str, format: &str| {
        format!(
            r#"{{"sources": {{}}, "providers": [{{"name": "a", "title": "A", "format": "{format}", "url": "https://a", "url_source": "s", "key": "K",
            "models": [{{"name": "m", "usd_per_mtok": {{"input": "{price}", "output": "1"}}, "can": ["{can}"], "source": "s", "as_of": "2026-05-21"}}]}}]}}"#
        )
    };
    for (text, told) in [
        (facts("1", "tools", "openai"), None),
        (facts("1e3", "tools", "openai"), Some("m: `1e3` is no number")),
        (facts("1", "fly", "openai"), Some("m: there is no word `fly`")),
        (facts("1", "tools", "smtp"), Some("a: there is no word `smtp`")),
    ] {
        assert_eq!(facts::read(&text).err().map(|error| error.to_string()).as_deref(), told);
    }
}

#[test]
fn a_models_name_tells_its_tokenizer_whoever_serves_it() {
    for (name, tokenizer) in [
        ("gpt-4o-2024-08-06", Some(Tokenizer::O200k)),
        ("openai/gpt-oss-120b", Some(Tokenizer::O200k)),
        ("o3-mini", Some(Tokenizer::O200k)),
        ("gpt-4-turbo", Some(Tokenizer::Cl100k)),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", Some(Tokenizer::Claude)),
        ("deepseek-ai/DeepSeek-V4-Flash", Some(Tokenizer::DeepSeek)),
        ("deepseek-r1-distill-llama-70b", Some(Tokenizer::Llama)),
        ("DeepSeek-R1-Distill-Qwen-32B", Some(Tokenizer::Qwen)),
        ("google/gemma-3-27b-it", Some(Tokenizer::Gemini)),
        ("llama3.2", Some(Tokenizer::Llama)),
        ("codestral-2508", Some(Tokenizer::Mistral)),
        ("Qwen/Qwen3-32B", Some(Tokenizer::Qwen)),
        ("kimi-k2.6", None),
        ("house-model", None),
        ("", None),
    ] {
        assert_eq!(catalog().tokenizer(name), tokenizer, "{name}");
    }
}
