//! What the catalogue gives a file that says little, and what the file overrides.

use tollgate::catalog::catalog;
use tollgate::config::{Checked, Key};
use tollgate::rules::{Revision, RuleSet};
use tollgate::units::{Format, Need, OnDisconnect};

use crate::config::read;
use crate::support::*;

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
    assert_eq!(checked.targets.len(), 1 + catalog().provider("openai").unwrap().models.len());
    assert_eq!(target(&checked, "openai/gpt-4o-2024-08-06").prices, target(&checked, "openai/gpt-4o").prices);
    assert!(checked.targets.iter().all(|target| target.model.as_str() != "GPT-5-Nano"));
}

#[test]
fn clients_find_a_target_under_the_names_that_people_write() {
    let rules = rules("  openai: {}\n  deepseek: {}\n  together: {}\n", "openai/gpt-4o");
    for (requested, found) in [
        ("gpt-4o", &["openai/gpt-4o"][..]),
        ("GPT-4o", &["openai/gpt-4o"]),
        ("OpenAI/GPT-4o", &["openai/gpt-4o"]),
        ("gpt-4o-2024-08-06", &["openai/gpt-4o"]),
        ("gpt-4o-2024-05-13", &["openai/gpt-4o-2024-05-13"]),
        ("deepseek-ai/DeepSeek-V4-Pro", &["deepseek/deepseek-v4-pro", "together/deepseek-ai/DeepSeek-V4-Pro"]),
        ("together/deepseek-ai/DeepSeek-V4-Pro", &["together/deepseek-ai/DeepSeek-V4-Pro"]),
        ("DeepSeek-V4-Pro", &["deepseek/deepseek-v4-pro", "together/deepseek-ai/DeepSeek-V4-Pro"]),
        ("deepseek-ai/deepseek-v4-flash", &["deepseek/deepseek-v4-flash"]),
        ("gpt-oss-120b", &["together/openai/gpt-oss-120b"]),
        ("auto", &[]),
        ("gpt-9", &[]),
    ] {
        assert_eq!(named(&rules, requested), found, "{requested}");
    }
}

fn rules(providers: &str, chain: &str) -> RuleSet {
    RuleSet::from((sound(providers, chain), Revision { number: 1, hash: String::new() }))
}

fn named<'r>(rules: &'r RuleSet, requested: &str) -> Vec<&'r str> {
    rules.targets_named(requested).iter().map(|at| rules.targets()[*at].name.as_str()).collect()
}

/// What clients ask for that know nothing of us, and the one target of a usual file that it is.
const ASKED: [(&str, &str); 84] = [
    // As the makers write them.
    ("gpt-4o", "openai/gpt-4o"),
    ("gpt-4o-mini", "openai/gpt-4o-mini"),
    ("gpt-4o-2024-08-06", "openai/gpt-4o"),
    ("gpt-4o-2024-11-20", "openai/gpt-4o"),
    ("gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini"),
    ("gpt-4o-2024-05-13", ""),
    ("chatgpt-4o-latest", ""),
    ("gpt-4o-audio-preview", ""),
    ("gpt-4.1-2025-04-14", "openai/gpt-4.1"),
    ("gpt-5-2025-08-07", "openai/gpt-5"),
    ("gpt-5-mini-2025-08-07", "openai/gpt-5-mini"),
    ("gpt-5-chat-latest", ""),
    ("o3-2025-04-16", "openai/o3"),
    ("text-embedding-3-small", "openai/text-embedding-3-small"),
    ("claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5"),
    ("claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
    ("claude-sonnet-4-5-latest", "anthropic/claude-sonnet-4-5"),
    ("claude-haiku-4-5-20251001", "anthropic/claude-haiku-4-5"),
    ("claude-opus-4-1-20250805", "anthropic/claude-opus-4-1"),
    ("claude-sonnet-4-20250514", "anthropic/claude-sonnet-4-0"),
    ("claude-sonnet-4-0", "anthropic/claude-sonnet-4-0"),
    ("claude-opus-4-20250514", "anthropic/claude-opus-4-0"),
    ("claude-3-5-sonnet-20241022", ""),
    ("claude-sonnet-4", "anthropic/claude-sonnet-4-0"),
    ("gemini-2.5-pro", "google/gemini-2.5-pro"),
    ("models/gemini-2.5-pro", "google/gemini-2.5-pro"),
    ("gemini-2.0-flash-001", "google/gemini-2.0-flash"),
    ("gemini-2.5-flash-image", ""),
    ("deepseek-chat", "deepseek/deepseek-chat"),
    ("deepseek-v4-flash", "deepseek/deepseek-v4-flash"),
    ("mistral-large-latest", "mistral/mistral-large-2512"),
    ("mistral-small-latest", "mistral/mistral-small-2603"),
    ("mistral-large-2411", ""),
    ("codestral-latest", "mistral/codestral-latest"),
    ("Codestral", "mistral/codestral-latest"),
    // In another case, with a dot for a dash.
    ("GPT-4O", "openai/gpt-4o"),
    ("Claude-Sonnet-4.5", "anthropic/claude-sonnet-4-5"),
    ("DeepSeek V4 Flash", "deepseek/deepseek-v4-flash"),
    ("minimax-m2.7", "minimax/MiniMax-M2.7"),
    // As Hugging Face writes them.
    ("deepseek-ai/DeepSeek-V4-Flash", "deepseek/deepseek-v4-flash"),
    ("deepseek-ai/DeepSeek-V4-Pro", "deepseek/deepseek-v4-pro"),
    ("Qwen/Qwen3-32B", "groq/qwen/qwen3-32b"),
    ("Qwen/Qwen3-32B-FP8", "groq/qwen/qwen3-32b"),
    ("Qwen/Qwen3-14B", ""),
    ("meta-llama/Llama-3.3-70B-Instruct", "groq/llama-3.3-70b-versatile"),
    ("meta-llama/Meta-Llama-3.1-8B-Instruct", "groq/llama-3.1-8b-instant"),
    ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "groq/meta-llama/llama-4-scout-17b-16e-instruct"),
    ("moonshotai/Kimi-K2-Instruct-0905", "groq/moonshotai/kimi-k2-instruct-0905"),
    ("moonshotai/Kimi-K2-Instruct", ""),
    ("MiniMaxAI/MiniMax-M2.7", "minimax/MiniMax-M2.7"),
    ("openai/gpt-oss-120b", "groq/openai/gpt-oss-120b"),
    ("openai/gpt-oss-120b:groq", "groq/openai/gpt-oss-120b"),
    ("openai/gpt-oss-120b:cerebras", "groq/openai/gpt-oss-120b"),
    ("openai/gpt-oss-120b:fastest", "groq/openai/gpt-oss-120b"),
    // As aggregators write them.
    ("openai/gpt-4o", "openai/gpt-4o"),
    ("openai/gpt-4o:nitro", "openai/gpt-4o"),
    ("openai/gpt-4o:online", ""),
    ("anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4-5"),
    ("anthropic/claude-sonnet-4.5:beta", "anthropic/claude-sonnet-4-5"),
    ("anthropic/claude-sonnet-4.5:thinking", ""),
    ("anthropic/claude-4.5-sonnet", "anthropic/claude-sonnet-4-5"),
    ("google/gemini-2.5-flash", "google/gemini-2.5-flash"),
    ("deepseek/deepseek-v4-flash:free", "deepseek/deepseek-v4-flash"),
    ("mistralai/mistral-large-2512", "mistral/mistral-large-2512"),
    ("mistralai/devstral-2512:free", "mistral/devstral-2512"),
    ("accounts/fireworks/models/minimax-m2p7", "minimax/MiniMax-M2.7"),
    ("accounts/fireworks/models/deepseek-v4-flash", "deepseek/deepseek-v4-flash"),
    ("llama-3.3-70b", "groq/llama-3.3-70b-versatile"),
    ("llama3.3:70b", "groq/llama-3.3-70b-versatile"),
    ("llama3.1:8b", "groq/llama-3.1-8b-instant"),
    ("gpt-oss:20b", "groq/openai/gpt-oss-20b"),
    // As clouds write them.
    ("anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic/claude-sonnet-4-5"),
    ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic/claude-sonnet-4-5"),
    ("global.anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic/claude-haiku-4-5"),
    ("claude-sonnet-4-5@20250929", "anthropic/claude-sonnet-4-5"),
    ("publishers/google/models/gemini-2.5-pro", "google/gemini-2.5-pro"),
    ("openai.gpt-oss-120b-1:0", "groq/openai/gpt-oss-120b"),
    // As libraries write them.
    ("openai:gpt-4o", "openai/gpt-4o"),
    ("anthropic:claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5"),
    ("gemini/gemini-2.5-pro", "google/gemini-2.5-pro"),
    ("vertex_ai/claude-sonnet-4-5@20250929", "anthropic/claude-sonnet-4-5"),
    ("bedrock/us.anthropic.claude-opus-4-1-20250805-v1:0", "anthropic/claude-opus-4-1"),
    ("azure/gpt-4o", "openai/gpt-4o"),
    ("azure/my-deployment", ""),
];

/// A file as people write it: some models of the makers that they like, and groq with all that it has.
const USUAL: &str = "  openai: { models: { gpt-4o: {}, gpt-4o-mini: {}, gpt-4.1: {}, gpt-5: {}, gpt-5-mini: {}, o3: {}, text-embedding-3-small: {} } }\n  \
    anthropic: {}\n  google: {}\n  deepseek: {}\n  mistral: {}\n  minimax: {}\n  groq: {}\n";

#[test]
fn what_clients_ask_for_that_know_nothing_of_us_is_the_very_model_or_nothing() {
    let rules = rules(USUAL, "openai/gpt-4o");
    for (requested, target) in ASKED {
        let found = named(&rules, requested);
        let wanted: Vec<&str> = Some(target).filter(|target| !target.is_empty()).into_iter().collect();
        assert_eq!(found, wanted, "{requested}");
    }
}

#[test]
fn a_name_that_several_go_by_means_them_in_the_order_of_the_file() {
    let providers = ["groq", "together", "cerebras", "nebius"];
    for turn in 0..providers.len() {
        let order: Vec<&str> = providers.iter().cycle().skip(turn).take(providers.len()).copied().collect();
        let file = order.iter().fold(String::new(), |file, name| file + &format!("  {name}: {{}}\n"));
        let rules = rules(&file, "groq/openai/gpt-oss-120b");
        for requested in ["gpt-oss-120b", "GPT-OSS-120B", "openai.gpt-oss-120b-1:0", "gpt-oss-120b:free"] {
            let found: Vec<&str> = named(&rules, requested).iter().map(|target| target.split('/').next().unwrap()).collect();
            assert_eq!(found, order, "{requested}");
        }
        // Whoever names a provider behind it means that one.
        assert_eq!(named(&rules, "gpt-oss-120b:cerebras"), ["cerebras/gpt-oss-120b"]);
        assert_eq!(named(&rules, "cerebras/GPT-OSS-120b"), ["cerebras/gpt-oss-120b"]);
    }
}

#[test]
fn what_is_known_of_a_provider_s_ways_counts_where_the_file_says_nothing() {
    let checked = sound(
        "  openai: {}\n  groq: {}\n  mine: { like: groq, on_disconnect: stops, max_output_tps: 700, api_key: \"${PRESENT}\" }\n  deepseek: {}\n",
        "openai/gpt-4o",
    );
    let ways: Vec<OnDisconnect> = checked.providers.iter().map(|provider| provider.on_disconnect).collect();
    assert_eq!(ways, [OnDisconnect::Stops, OnDisconnect::Finishes, OnDisconnect::Stops, OnDisconnect::Stops]);
    let fastest = |name: &str| target(&checked, name).max_output_tps.get();
    assert_eq!((fastest("openai/gpt-4o"), fastest("groq/openai/gpt-oss-20b"), fastest("mine/openai/gpt-oss-20b")), (300, 2_000, 700));
    assert_eq!(target(&checked, "deepseek/deepseek-v4-flash").quirks.most_stops, 16);
}

/// A client that changed its `base_url` and nothing else.
#[tokio::test]
async fn a_client_that_changed_its_address_alone_is_served_by_the_very_model() {
    let openai = sound_provider("from OpenAI", false).await;
    let deepseek = sound_provider("from DeepSeek", false).await;
    let message = serde_json::json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_reason": "end_turn",
        "stop_sequence": null, "content": [{ "type": "text", "text": "from Anthropic" }], "usage": { "input_tokens": 10, "output_tokens": 20 } });
    let anthropic = Provider::always(vec![send(json_answer("200 OK", &message.to_string()))]).await;
    let daemon = Daemon::start(&format!(
        "version: 1\nproviders:\n  openai: {{ base_url: \"{}\" }}\n  anthropic: {{ base_url: \"http://{}\" }}\n  deepseek: {{ base_url: \"{}\" }}\n\
         rules:\n  - {{ name: named, match: {{ model: known }}, chain: [requested] }}\ndefault: refuse\n",
        openai.url(),
        anthropic.address,
        deepseek.url()
    ))
    .await;
    for (path, requested, target, sent, text) in [
        ("/v1/chat/completions", "gpt-4o", "openai/gpt-4o", "gpt-4o", "from OpenAI"),
        ("/v1/chat/completions", "deepseek-ai/DeepSeek-V4-Flash", "deepseek/deepseek-v4-flash", "deepseek-v4-flash", "from DeepSeek"),
        ("/v1/chat/completions", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5", "claude-sonnet-4-5", "from Anthropic"),
        ("/v1/messages", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5", "claude-sonnet-4-5", "from Anthropic"),
        ("/v1/messages", "openai/GPT-4o:free", "openai/gpt-4o", "gpt-4o", "from OpenAI"),
    ] {
        let body =
            serde_json::json!({ "model": requested, "max_tokens": 100, "messages": [{ "role": "user", "content": "Who answers?" }] });
        let got = daemon.post(path, &[], &body.to_string()).await;
        assert_eq!((got.status, got.target()), (200, target), "{requested}: {got:?}");
        assert!(got.body.contains(text), "{requested}: {got:?}");
        let provider =
            [&openai, &deepseek, &anthropic][["OpenAI", "DeepSeek", "Anthropic"].iter().position(|of| text.ends_with(of)).unwrap()];
        assert_eq!(provider.seen().last().unwrap().json()["model"], sent, "{requested}");
    }
    // Another model is never served in its place.
    for requested in ["gpt-4o-audio-preview", "anthropic/claude-sonnet-4.5:thinking", "claude-3-5-sonnet-20241022"] {
        let got = daemon.ask(&format!(r#"{{"model":"{requested}","messages":[{{"role":"user","content":"hi"}}]}}"#)).await;
        assert_eq!((got.status, got.code().as_str()), (404, "model_not_found"), "{requested}: {got:?}");
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
