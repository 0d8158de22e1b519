//! The door of the file: what loads, what is refused, and how it is told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tollgate::app;
use tollgate::config::{self, Checked, Diagnostic, Severity, Sources, Style};

/// Secrets of the tests: what is not listed is missing.
fn variable(name: &str) -> Option<String> {
    match name {
        "PRESENT" => Some("sk-present".into()),
        "EMPTY" => Some(String::new()),
        "SPACES" => Some("  ".into()),
        "BROKEN" => Some("sk-\u{7}bell".into()),
        "TWO_WORDS" => Some("sk one".into()),
        _ => None,
    }
}

fn file(path: &str) -> io::Result<String> {
    match path {
        "/etc/tollgate/house.key" => Ok("sk-house\n".into()),
        "/etc/tollgate/locked.key" => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn credential(_: &str) -> io::Result<String> {
    Err(io::ErrorKind::NotFound.into())
}

pub(crate) fn read(text: &str) -> (Option<Checked>, Vec<Diagnostic>) {
    let env = config::Env { variable: &variable, file: &file, credential: &credential };
    let checking = app::check(Sources::new("routes.yaml", text), &env);
    (checking.checked, checking.findings)
}

fn render(text: &str, findings: &[Diagnostic], style: Style) -> String {
    config::render(&Sources::new("routes.yaml", text), findings, style)
}

fn read_bytes(bytes: &[u8]) -> (Option<Checked>, Vec<Diagnostic>) {
    config::read_bytes(bytes, &config::Env { variable: &variable, file: &file, credential: &credential })
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name)
}

pub(crate) fn yaml_files(name: &str) -> BTreeMap<String, String> {
    fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap()))
        .collect()
}

#[test]
fn good_files_load_without_a_finding() {
    for (name, text) in yaml_files("good") {
        let (checked, findings) = read(&text);
        assert_eq!(render(&text, &findings, Style::Plain), "", "{name}");
        assert!(checked.is_some(), "{name}");
    }
}

#[test]
fn a_formatted_file_is_sound_and_stays_as_it_is() {
    for (name, text) in yaml_files("good") {
        let formatted = config::format(&text).unwrap();
        let (checked, findings) = read(&formatted);
        assert_eq!(render(&formatted, &findings, Style::Plain), "", "{name}\n{formatted}");
        assert!(checked.is_some() && formatted.ends_with("\n...\n"), "{name}");
        assert_eq!(config::format(&formatted).unwrap(), formatted, "{name}");
        assert_eq!(text.matches('#').count(), formatted.matches('#').count(), "{name}\n{formatted}");
    }
}

#[test]
fn bad_files_are_told_in_exactly_these_words() {
    let rewrite = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for (name, text) in yaml_files("bad") {
        let (_, findings) = read(&text);
        assert!(!findings.is_empty(), "{name} has no finding");
        let told = render(&text, &findings, Style::Plain);
        let path = folder("bad").join(format!("{name}.txt"));
        if rewrite {
            fs::write(&path, &told).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != told {
            wrong.push(format!("{name}:\n{told}"));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 writes what is told now\n{}", wrong.join("\n"));
}

#[test]
fn every_code_has_a_golden_file() {
    let told: String = yaml_files("bad")
        .keys()
        .map(|name| folder("bad").join(format!("{name}.txt")))
        .chain(fs::read_dir(folder("include")).unwrap().map(|case| case.unwrap().path().join("expected.txt")))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    // Told of the file itself, beside a running daemon or by another command: their own tests have them.
    let elsewhere =
        ["bad-encoding", "file-too-large", "half-written", "needs-restart", "too-many-files", "unformattable", "unreadable", "unsettled"];
    let missing: Vec<&str> = config::Code::ALL
        .iter()
        .map(|(code, _)| code.as_str())
        .filter(|code| !elsewhere.contains(code) && !told.contains(&format!("[{code}]")))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

/// The codes of a text's findings, in order.
fn codes(text: &str) -> Vec<&'static str> {
    read(text).1.iter().map(|finding| finding.code.as_str()).collect()
}

fn golden(name: &str) -> Vec<&'static str> {
    codes(&fs::read_to_string(folder("bad").join(format!("{name}.yaml"))).unwrap())
}

fn everything() -> String {
    fs::read_to_string(folder("good").join("everything.yaml")).unwrap()
}

/// A file around one provider's `base_url`.
fn with_url(url: &str) -> String {
    format!("version: 1\nproviders:\n  a: {{ format: openai, base_url: \"{url}\", models: {{ m: {{}} }} }}\ndefault: {{ chain: [a/m] }}\n")
}

/// A file around one provider's `api_key`.
fn with_key(key: &str) -> String {
    format!(
        "version: 1\nproviders:\n  a: {{ format: openai, base_url: \"https://a.example.com\", api_key: \"{key}\", models: {{ m: {{}} }} }}\n\
         default: {{ chain: [a/m] }}\n"
    )
}

#[test]
fn the_worked_example_of_the_design_has_no_finding() {
    let text = fs::read_to_string(folder("good").join("design.yaml")).unwrap();
    let (checked, findings) = read(&text);
    assert_eq!(findings, []);
    let first = &checked.unwrap().rules[2].route.chain.first;
    assert!(matches!(first, config::Member::Pool(pool) if pool.pick == config::Pick::Cheapest && pool.of.len() == 2), "{first:?}");
}

#[test]
fn c01_what_is_no_text_is_refused_with_its_place_and_bom_and_crlf_are_read() {
    let minimal = fs::read_to_string(folder("good").join("minimal.yaml")).unwrap();
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(minimal.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let refused: [(&[u8], usize, usize); 4] =
        [(&utf16, 1, 1), (b"version: 1\nx: \xff\n", 2, 4), (b"version: 1\n  \0\n", 2, 3), (b"version: 1\n\ta: b\n", 2, 1)];
    for (bytes, line, column) in refused {
        let (checked, findings) = read_bytes(bytes);
        assert!(checked.is_none());
        assert_eq!((findings.len(), findings[0].place.line, findings[0].place.column), (1, line, column), "{findings:?}");
    }
    for text in [format!("\u{feff}{minimal}"), minimal.replace('\n', "\r\n")] {
        let (checked, findings) = read_bytes(text.as_bytes());
        assert!(checked.is_some(), "{findings:?}");
    }
    let wrong = minimal.replace("sandbox", "sandbux");
    for text in [format!("\u{feff}{wrong}"), wrong.replace('\n', "\r\n")] {
        let (_, findings) = read_bytes(text.as_bytes());
        let told = render(&text, &findings, Style::Plain);
        assert!(told.contains("routes.yaml:3:18") && told.contains("^^^^^^^\n"), "{told}");
    }
}

#[test]
fn c02_unknown_field_names_the_nearest() {
    for (name, hint) in [
        ("c02-unknown-key-provider", "did you mean `limits`?"),
        ("c02-hyphen", "did you mean `max_output`?"),
        ("c02-unknown-key-rule", "here it is called `match`"),
    ] {
        let (checked, findings) = read(&fs::read_to_string(folder("bad").join(format!("{name}.yaml"))).unwrap());
        assert!(checked.is_none());
        assert!(findings.iter().any(|finding| finding.code == "unknown-key" && finding.hint.as_deref() == Some(hint)), "{findings:?}");
    }
}

#[test]
fn c03_every_strict_prefix_is_known_as_half_written_and_reading_it_never_panics() {
    let text = everything();
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        assert_eq!(config::half_written(&text, &text[..end]), Some(config::HalfWritten::Prefix), "{end}");
        let (checked, findings) = read(&text[..end]);
        assert_eq!(checked.is_none(), findings.iter().any(|finding| finding.severity == Severity::Error), "{end}");
    }
    let edited = text.replacen("version: 1", "version: 1 # edited", 1);
    for end in (0..edited.len() - 4).filter(|end| edited.is_char_boundary(*end)) {
        assert!(config::half_written(&text, &edited[..end]).is_some(), "{end}");
    }
    assert_eq!(config::half_written(&text, &text), None);
    assert_eq!(config::half_written(&text, &edited), None);
    assert_eq!(config::half_written("a: 1\n", "b: 2\n"), None);
}

#[test]
fn c08_unknown_names_are_told_with_their_path_and_the_nearest() {
    for name in ["c08-unknown-provider", "c08-unknown-in-default", "c08-unknown-like"] {
        assert!(golden(name).contains(&"unknown-provider"), "{name}");
    }
    assert_eq!(golden("c08-unknown-model"), ["unknown-model"]);
    assert_eq!(golden("c08-unknown-chain"), ["unknown-chain"]);
}

#[test]
fn c09_cycles_are_told_once_and_printed() {
    for (name, code, path) in [
        ("c09-chain-cycle", "chain-cycle", "a → b → c → a"),
        ("c09-chain-in-itself", "chain-cycle", "a → a"),
        ("c09-like-cycle", "like-cycle", "a → b → c → a"),
    ] {
        let (_, findings) = read(&fs::read_to_string(folder("bad").join(format!("{name}.yaml"))).unwrap());
        let cycles: Vec<&Diagnostic> = findings.iter().filter(|finding| finding.code == code).collect();
        assert!(matches!(cycles.as_slice(), [one] if one.message.ends_with(path)), "{findings:?}");
    }
}

#[test]
fn c10_what_is_there_twice_is_refused() {
    for (name, code) in [
        ("c10-duplicate-key", "duplicate-key"),
        ("c10-duplicate-key-flow", "duplicate-key"),
        ("c10-duplicate-header", "duplicate-key"),
        ("c10-duplicate-rule-name", "duplicate-name"),
    ] {
        assert_eq!(golden(name), [code], "{name}");
    }
}

#[test]
fn c11_a_file_above_one_mebibyte_is_refused() {
    let minimal = fs::read_to_string(folder("good").join("minimal.yaml")).unwrap();
    let fits = format!("{minimal}#{}\n", "x".repeat(config::MAX_BYTES - minimal.len() - 2));
    assert_eq!(fits.len(), config::MAX_BYTES);
    assert!(read_bytes(fits.as_bytes()).0.is_some());
    let (checked, findings) = read_bytes(format!("{fits}\n").as_bytes());
    assert!(checked.is_none());
    assert_eq!(findings[0].code, "file-too-large");
}

#[test]
fn c12_bombs_are_refused() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..10 {
        let inner = vec![format!("*a{}", level - 1); 10].join(",");
        writeln!(bomb, "a{level}: &a{level} [{inner}]").unwrap();
    }
    let aliases = format!("a: &a x\nb: [{}]\n", vec!["*a"; 1_001].join(","));
    let deep = format!("a: {}{}\n", "[".repeat(65), "]".repeat(65));
    let deep_block = (0..100).map(|level| " ".repeat(level) + "a:\n").collect::<String>();
    for (text, code) in [
        (bomb, "yaml-too-much"),
        (aliases, "yaml-too-much"),
        (deep, "yaml-too-much"),
        (deep_block, "yaml-too-much"),
        ("---\n".repeat(100_000), "yaml-documents"),
    ] {
        assert_eq!(codes(&text), [code]);
    }
}

#[test]
fn c13_a_missing_secret_is_named_by_its_reference() {
    for (key, code) in [
        ("${NOWHERE}", Some("missing-secret")),
        ("${NOWHERE}?", None),
        ("${file:/etc/nowhere}", Some("missing-secret")),
        ("${file:/etc/nowhere}?", None),
        ("${file:/etc/tollgate/locked.key}?", Some("missing-secret")),
        ("${credential:openai}", Some("missing-secret")),
        ("${credential:openai}?", None),
        ("${PRESENT}", None),
        ("${PRESENT}?", None),
    ] {
        assert_eq!(codes(&with_key(key)).first().copied(), code, "{key}");
    }
    let (checked, _) = read(&with_key("${NOWHERE}?"));
    assert_eq!(checked.unwrap().providers[0].key, config::Key::Missing("NOWHERE".into()));
}

#[test]
fn c14_a_secret_that_no_header_carries_is_refused_and_one_line_break_is_trimmed() {
    for key in ["${EMPTY}", "${EMPTY}?", "${SPACES}", "${TWO_WORDS}", "${BROKEN}", ""] {
        assert!(read(&with_key(key)).0.is_none(), "{key}");
    }
    let (checked, _) = read(&with_key("${file:/etc/tollgate/house.key}"));
    let config::Key::Present(secret) = checked.unwrap().providers[0].key.clone() else { unreachable!("no key") };
    assert_eq!(secret.expose(), "sk-house");
}

#[test]
fn no_finding_tells_a_secret() {
    for text in [
        with_key("sk-verysecret"),
        with_key("Bearer sk-verysecret ${PRESENT}"),
        with_key("${PRESENT}sk-verysecret"),
        with_key("${PRESENT:-sk-verysecret}"),
        with_key("${TWO_WORDS}"),
        with_url("https://sk-verysecret@a.example.com"),
        with_url("https://a.example.com?key=sk-verysecret"),
        with_url("sk-verysecret@a.example.com"),
        with_key("sk-verysecret").replace("api_key", "apikey"),
        with_key("sk-verysecret").replace("models", "model"),
        with_key("sk-verysecret").replace("providers:", "providers: &a [").replace("default", "] default"),
        format!("{}callers: {{ a: {{ key: verysecret }} }}\n", with_key("x")),
        format!("{}callers: {{ a: {{ keys: [verysecret, sha256:verysecret] }} }}\n", with_key("x")),
        format!("{}callers:\n  a:\n    keys:\n      - verysecret\n      - sha256:verysecret\n", with_key("x")),
        format!("{}callers: {{ a: {{ key: [verysecret] }} }}\n", with_key("x")),
        format!("{}alerts: {{ webhook: {{ url: \"https://a.example.com\", secret: verysecret }} }}\n", with_key("x")),
    ] {
        let (_, findings) = read(&text);
        assert!(!findings.is_empty());
        for style in [Style::Plain, Style::Colour, Style::Json, Style::Github] {
            let told = render(&text, &findings, style);
            assert!(!told.contains("verysecret") && !told.contains("sk one"), "{told}");
        }
    }
}

#[test]
fn c15_hosts_that_nobody_means_are_refused_and_near_ones_are_their_own_consent() {
    for (url, code) in [
        ("https://api.example.com/v1", None),
        ("http://127.0.0.1:8000/v1", None),
        ("http://localhost:8000/v1", None),
        ("http://10.1.2.3/v1", None),
        ("http://[::1]:8000/v1", None),
        ("http://[fd12::1]/v1", None),
        ("http://api.example.com/v1", Some("plain-http")),
        ("http://ollama:11434/v1", Some("plain-http")),
        ("http://8.8.8.8/v1", Some("plain-http")),
        ("https://user@api.example.com", Some("bad-url")),
        ("https://api.example.com/#x", Some("bad-url")),
        ("https://api.example.com/?x=1", Some("bad-url")),
        ("file:///etc/passwd", Some("bad-url")),
        ("https://", Some("bad-url")),
        ("https:///v1", Some("bad-url")),
        ("https://0x7f.1/v1", Some("bad-url")),
        ("https://2130706433/v1", Some("bad-url")),
        ("https://169.254.1.1/v1", Some("forbidden-host")),
        ("https://169.254.169.254/v1", Some("forbidden-host")),
        ("https://[::ffff:169.254.169.254]/v1", Some("forbidden-host")),
        ("https://[fd00:ec2::254]/v1", Some("forbidden-host")),
        ("https://[fe80::1]/v1", Some("forbidden-host")),
        ("https://Metadata.Google.Internal./v1", Some("forbidden-host")),
        ("http://0.0.0.0/v1", Some("forbidden-host")),
        ("https://224.0.0.1/v1", Some("forbidden-host")),
    ] {
        assert_eq!(codes(&with_url(url)).first().copied(), code, "{url}");
    }
    let allowed = with_url("http://api.example.com/v1").replace("models", "allow_http: true, models");
    assert_eq!(codes(&allowed), Vec::<&str>::new());
    let (checked, _) = read(&with_url("https://api.example.com/v1///"));
    assert_eq!(checked.unwrap().providers[0].base_url.as_ref().unwrap().to_string(), "https://api.example.com/v1");
}

#[test]
fn c17_numbers_that_mean_nothing_are_refused() {
    for text in yaml_files("bad").into_iter().filter(|(name, _)| name.starts_with("c17")).map(|(_, text)| text) {
        let (checked, findings) = read(&text);
        assert!(checked.is_none() && findings.len() == 1, "{findings:?}");
    }
}

#[test]
fn c27_several_documents_and_tags_are_refused() {
    assert_eq!(golden("c27-two-documents"), ["yaml-documents"]);
    assert_eq!(golden("c27-custom-tag"), ["yaml-tag"]);
    assert_eq!(golden("c27-wrong-tag"), ["yaml-tag"]);
}

#[test]
fn c29_each_yaml_trap_has_its_own_hint() {
    for (name, hint) in [
        ("c29-no", "write `false`"),
        ("c29-1e3", "write the number out: `1000`"),
        ("c29-010", "write `10`"),
        ("c29-12-30", "clock times mean nothing here"),
        ("c29-off", "take the key out"),
        ("c29-reference-in-flow", "`\"${A_KEY}?\"`"),
        ("c29-glob-alias", "`\"*-mini\"`"),
        ("c29-nothing-after-key", "`server: {}`"),
        ("c10-duplicate-key", "keep one of the two"),
        ("c01-unclosed-bracket", "the `[` in line 11 lacks its `]`"),
        ("c01-tab", "replace the tab by spaces"),
        ("c01-no-space-after-colon", "write a space behind `version:`"),
    ] {
        let (_, findings) = read(&fs::read_to_string(folder("bad").join(format!("{name}.yaml"))).unwrap());
        assert!(findings[0].hint.as_ref().is_some_and(|text| text.contains(hint)), "{name}: {findings:?}");
    }
    let underscored = with_url("https://a.example.com").replace("m: {}", "m: { context: 1_000 }");
    assert_eq!(read(&underscored).0.unwrap().targets[0].context.unwrap().count(), 1_000);
}

#[test]
fn the_checked_form_says_what_the_file_says() {
    let checked = read(&everything()).0.unwrap();
    let target = |name: &str| checked.targets.iter().find(|target| target.name.as_str() == name).unwrap();
    let provider = |name: &str| checked.providers.iter().find(|provider| provider.name.as_str() == name).unwrap();

    assert!(checked.server.open);
    assert_eq!((checked.server.deadline.as_secs(), checked.server.stream_deadline.as_secs()), (300, 1_200));
    assert_eq!((checked.server.early_head, checked.server.max_n), (None, 8));

    let tokens = provider("openai").limits.tokens.unwrap();
    assert_eq!((tokens.amount.get(), tokens.burst.get(), tokens.per.as_secs()), (200_000, 50_000, 60));
    let eu = provider("openai-eu");
    assert_eq!(eu.limits, provider("openai").limits);
    assert_eq!((eu.timeouts.connect.as_secs(), eu.timeouts.idle.as_secs()), (1, 60));
    assert_eq!(eu.key, config::Key::Missing("credential:openai-eu".into()));
    assert_eq!(provider("openai").cooldown.map(|policy| (policy.after.get(), policy.rest.as_secs())), Some((3, 10)));
    assert_eq!(provider("house").cooldown, None);
    assert_eq!(provider("box").sandbox.unwrap().failure.millionths(), 5_000);

    let mini = target("openai/o4-mini");
    assert!(mini.reasons());
    assert_eq!((mini.prices.as_ref().unwrap().tiers.len(), mini.default_max_output_tokens.count()), (2, 8_000));
    let copied = target("openai-eu/gpt-4o");
    assert_eq!((copied.context.unwrap().count(), copied.max_output_tokens.unwrap().count()), (128_000, 8_000));
    assert!(copied.limits.requests.is_some() && copied.limits.tokens.is_some());
    assert_eq!(target("house/llama3.2").default_max_output_tokens.count(), 1_000);
    assert_eq!(target("box/echo").prices.as_deref(), Some(&tollgate::units::Prices::default()));

    let coding = &checked.rules[0];
    assert_eq!((coding.name.as_str(), coding.line, coding.route.chain.members().count()), ("coding", 95, 3));
    let config::Member::Target(first) = &coding.route.chain.first else { unreachable!("no target") };
    let set: Vec<(&str, &str)> = first.set.iter().map(|(key, value)| (key.as_str(), value.get())).collect();
    assert_eq!(set, [("stop", r#"["\n"]"#), ("temperature", "0"), ("user", r#""no""#)]);
    assert_eq!(coding.unless.as_ref().unwrap().needs.as_deref(), Some(&[tollgate::units::Need::Vision][..]));
    assert_eq!(checked.rules[2].matches.headers.keys().map(String::as_str).collect::<Vec<_>>(), ["x-team"]);
    assert!(
        matches!(&checked.rules[1].route.chain.first, config::Member::Pool(pool) if pool.pick == config::Pick::Split && pool.of.len() == 2 && pool.of[0].weight.get() == 95)
    );
    assert!(matches!(checked.rules[3].route.chain.first, config::Member::Requested));
    assert!(matches!(checked.default, config::DefaultRule::Refuse));
}

#[test]
fn what_is_not_said_has_the_defaults_of_the_design() {
    let text = with_url("https://a.example.com").replace("m: {}", "m: {}, r: { can: [reasoning] }");
    let checked = read(&text).0.unwrap();
    let server = &checked.server;
    assert_eq!((server.listen.to_string(), server.admin.to_string()), ("127.0.0.1:8080".into(), "127.0.0.1:8081".into()));
    assert_eq!((server.deadline.as_secs(), server.stream_deadline.as_secs(), server.drain.as_secs()), (600, 1_800, 300));
    assert_eq!((server.body_limit, server.connections.get(), server.max_n), (32 << 20, 10_000, 4));
    assert_eq!(server.early_head.map(|wait| wait.as_secs()), Some(10));
    let waits = |index: usize| {
        let timeouts = checked.targets[index].timeouts;
        (timeouts.connect.as_secs(), timeouts.first_content.as_secs(), timeouts.idle.as_secs())
    };
    assert_eq!((waits(0), waits(1)), ((2, 60, 120), (2, 600, 120)));
    assert_eq!(checked.targets[0].default_max_output_tokens.count(), 16_000);
    assert_eq!(checked.targets[1].default_max_output_tokens.count(), 32_000);
    assert_eq!(checked.providers[0].cooldown.map(|policy| (policy.after.get(), policy.rest.as_secs())), Some((5, 20)));
}

#[test]
fn losses_are_named() {
    let old = read(&everything()).0.unwrap();
    assert_eq!(config::losses(&old, &old), Vec::<String>::new());
    let less = everything()
        .replace(
            "limits: { requests: 500/min, tokens: { rate: 200k/min, burst: 50k }, concurrent: 64, wait: 2s }",
            "limits: { tokens: 1/s }",
        )
        .replace("  - name: named\n    match: { model: [known, auto] }\n    chain: [requested, box/echo, box/priced]\n", "")
        .replace("  thrifty: [openai/o4-mini, house/llama3.2]", "  thrifty: [openai/o4-mini]")
        .replace("    deadline: 2m\n    max_output_tokens: 4k\n", "");
    let (new, findings) = read(&less);
    let lost = config::losses(&old, &new.unwrap_or_else(|| unreachable!("{findings:?}")));
    for name in [
        "limits.requests of provider `openai`",
        "limits.concurrent of provider `openai-eu`",
        "rule `named`",
        "step `house/llama3.2` of rule `coding`",
        "max_output_tokens of rule `coding`",
    ] {
        assert!(lost.iter().any(|text| text == name), "{name}: {lost:#?}");
    }
}

fn money() -> String {
    fs::read_to_string(folder("good").join("money.yaml")).unwrap()
}

#[test]
fn c20_a_budget_that_is_renamed_or_gone_is_named_and_so_is_a_caller() {
    // What is gone must not be asked for.
    let base: String = money().lines().filter(|line| !line.starts_with("    unless:")).flat_map(|line| [line, "\n"]).collect();
    let old = read(&base).0.unwrap();
    assert_eq!(config::losses(&old, &old), Vec::<String>::new());
    let of = |edits: &[(&str, &str)]| {
        let mut text = base.clone();
        for (from, to) in edits {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let (new, findings) = read(&text);
        config::losses(&old, &new.unwrap_or_else(|| unreachable!("{findings:?}")))
    };
    // Its spend goes on under the new name, with all that it capped.
    let renamed = of(&[("  company:\n", "  all-of-us:\n"), ("company.month", "all-of-us.month"), ("was: everybody", "was: company")]);
    assert_eq!(renamed, ["the name `company` of budget `all-of-us`"]);
    let feature = money().lines().find(|line| line.starts_with("  feature:")).unwrap().to_owned() + "\n";
    for (edit, lost) in [
        ((feature.as_str(), ""), &["budget `feature`"][..]),
        (("budget: [$300/month, $40/day]", "budget: $300/month"), &["cap per day of budget of provider `openai`"]),
        (("    pace: $20/hour\n", ""), &["pace of budget of provider `openai`", "pace of budget of provider `openai-eu`"]),
        (("    budget: $50/month\n", ""), &["budget of caller `search-team`"]),
        (("mode: hard", "mode: observe"), &["`mode: hard` of budget `company`", "the refusal at the cap of budget `company`"]),
        (("    allow: [house/*, openai/gpt-4o]\n", ""), &["allow of caller `legal`"]),
        (("sha256:ef2d127d", "sha256:ff2d127d"), &["key ef2d127d of caller `legal`"]),
        (("durability: strict", "durability: grant"), &["`durability: strict` of `ledger`"]),
        ((", secret: \"${ALERTS_SECRET}?\"", ""), &[]),
        (("\nalerts:\n  webhook:", "\nalerts: {}\n# webhook:"), &["webhook of `alerts`"]),
        (("caller: search-team }", "prompt_tokens: { min: 0 } }"), &["match.caller of rule `coding`"]),
    ] {
        let told: Vec<String> = of(&[edit]).into_iter().filter(|told| !told.contains("spent")).collect();
        assert_eq!(told, lost, "{edit:?}");
    }
}

#[test]
fn what_the_file_says_of_money_is_what_is_checked() {
    let file = read(&money()).0.unwrap();
    let names: Vec<&str> = file.budgets.iter().map(|budget| budget.name.as_str()).collect();
    let of_providers_and_callers = ["provider.openai", "provider.openai-eu", "caller.search-team", "caller.legal"];
    assert_eq!(names, [["company", "research", "coding", "feature"], of_providers_and_callers].concat());
    let budget = |name: &str| file.budgets.iter().find(|budget| budget.name.as_str() == name).unwrap();
    let company = budget("company");
    let caps: Vec<String> = company.caps.iter().map(|cap| format!("{}/{}", cap.amount, cap.window.period)).collect();
    assert_eq!(caps, ["$2000/month", "$150/day", "$50000/total"]);
    let window = &company.caps[0].window;
    assert_eq!((window.zone.iana_name(), format!("{:?}", window.starts_on)), (Some("America/New_York"), "Day(15)".to_owned()));
    assert_eq!(
        (company.was.as_ref().map(tollgate::units::BudgetName::as_str), company.min_output_tokens.count(), company.wait.as_secs()),
        (Some("everybody"), 512, 30)
    );
    assert_eq!(company.warn_at.iter().map(ToString::to_string).collect::<Vec<_>>(), ["50%", "80%", "95%"]);
    // What is not said: the zone of `server`, and the defaults of the design.
    let openai = budget("provider.openai");
    assert_eq!(openai.caps[1].window.zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!((openai.min_output_tokens.count(), openai.wait.as_secs(), openai.mode), (256, 10, config::BudgetMode::Hard));
    assert_eq!(openai.pace.map(|pace| (pace.amount.get(), pace.per.as_secs())), Some((20_000_000, 3_600)));
    assert_eq!((openai.covers.providers.as_deref(), openai.is_skippable(), company.is_skippable()), (Some(&[0][..]), true, false));
    // A copy has a budget of its own: its own caps stand before the copied ones.
    let copy = budget("provider.openai-eu");
    assert_eq!((copy.caps.len(), copy.caps[0].window.zone.iana_name(), copy.mode), (1, Some("UTC"), config::BudgetMode::Soft));
    let legal = &file.callers[1];
    assert_eq!((legal.keys.len(), legal.keys[1].expires.map(|moment| moment.to_string())), (2, Some("2199-12-30T23:00:00Z".into())));
    assert_eq!(legal.expires.map(|moment| moment.to_string()), Some("2199-12-31T17:00:00Z".into()));
    assert_eq!(
        (legal.allow.as_ref().map(Vec::len), file.callers[0].trust_client, file.callers[0].tags.get("cost-centre").unwrap()),
        (Some(2), true, "4711")
    );
    assert_eq!(budget("caller.legal").covers.callers, Some(vec![1]));
    assert_eq!((file.ledger.timeout.as_secs(), file.ledger.hold_for), (3, config::HoldFor::Window));
    let webhook = file.alerts.webhook.as_ref().unwrap();
    assert_eq!(
        (webhook.url.path_and_query().map(http::uri::PathAndQuery::as_str), webhook.secret.is_none()),
        (Some("/tollgate?team=money"), true)
    );
    let rule = &file.rules[1];
    let windows: Vec<String> = rule.unless.as_ref().unwrap().spent.iter().map(|(window, _)| window.name(&file.budgets)).collect();
    assert_eq!(windows, ["provider.openai.day", "caller.search-team.month"]);
    let target = |name: &str| file.targets.iter().find(|target| target.name.as_str() == name).unwrap();
    let dalle = target("openai/dall-e");
    assert_eq!(
        (dalle.flat_usd.map(|usd| usd.to_string()), dalle.image_tokens.map(tollgate::units::Tokens::count), dalle.max_output_tps.get()),
        (Some("$0.04".into()), Some(1_000), 100)
    );
    assert_eq!(
        (target("openai/gpt-4o").max_output_tps.get(), target("openai/gpt-4o").image_tokens.map(tollgate::units::Tokens::count)),
        (400, Some(2_000))
    );
    assert_eq!(
        (file.providers[0].on_disconnect, file.providers[0].cost_source),
        (tollgate::units::OnDisconnect::Finishes, config::CostSource::Provider)
    );
}

#[test]
fn findings_are_told_to_programs_too() {
    let text = "version: 1\nprovider: {}\ndefault: refuse\n";
    let (_, findings) = read(text);
    let json: serde_json::Value = serde_json::from_str(&config::render(&Sources::new("a,b.yaml", text), &findings, Style::Json)).unwrap();
    assert_eq!((&json["errors"], &json["findings"][0]["code"]), (&1.into(), &"unknown-key".into()));
    let github = config::render(&Sources::new("a,b.yaml", text), &findings, Style::Github);
    assert_eq!(
        github.lines().next(),
        Some("::error file=a%2Cb.yaml,line=2,col=1,title=unknown-key::the file has no key `provider`%0Ahint: did you mean `providers`?")
    );
}

#[test]
fn a_random_edit_never_panics_and_never_hides_an_error() {
    let text = everything();
    let mut chance = fastrand::Rng::with_seed(7);
    let spice = ["\t", ":", "{", "}", "[", "]", "\"", "*", "&", "!", "${", "-", "#", "\n", " ", "é", "0", "~", "<<: "];
    for _ in 0..2_000 {
        let mut edited: Vec<char> = text.chars().collect();
        let at = chance.usize(..edited.len());
        match chance.u8(..4) {
            0 => drop(edited.remove(at)),
            1 => edited.truncate(at),
            2 => drop(edited.splice(at..at, spice[chance.usize(..spice.len())].chars())),
            _ => {
                let end = (at + chance.usize(..40)).min(edited.len());
                drop(edited.drain(at..end));
            }
        }
        let edited: String = edited.into_iter().collect();
        let (checked, findings) = read(&edited);
        assert_eq!(checked.is_none(), findings.iter().any(|finding| finding.severity == Severity::Error), "{edited}");
        let told = render(&edited, &findings, Style::Plain);
        assert_eq!(told.is_empty(), findings.is_empty());
    }
}

/// A file as any YAML 1.2 reader hands it to a validator.
pub(crate) fn as_json(text: &str) -> Option<serde_json::Value> {
    let options = serde_yaml::options! { strict_booleans: true, non_finite_float_policy: serde_yaml::NonFiniteFloatPolicy::AsString };
    serde_yaml::from_str_with_options(text, options).ok()
}

#[test]
fn the_committed_schema_is_the_one_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/routes.schema.json");
    let now = format!("{}\n", serde_json::to_string_pretty(&config::schema()).unwrap());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &now).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap_or_default(), now, "UPDATE_GOLDEN=1 writes it");
}

#[test]
fn the_schema_accepts_good_files_and_refuses_what_it_can_see() {
    let validator = jsonschema::validator_for(&config::schema()).unwrap();
    for (name, text) in yaml_files("good") {
        let errors: Vec<String> =
            validator.iter_errors(&as_json(&text).unwrap()).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert_eq!(errors, Vec::<String>::new(), "{name}");
    }
    // The same table holds an independent reader and validator to it, which see a little more: tags, duplicate keys.
    let table = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schema/disagreements.md")).unwrap();
    let explained = |name: &str| table.contains(&format!("| `{name}` |"));
    let mut disagreements = Vec::new();
    for (name, text) in yaml_files("bad") {
        let (checked, findings) = read(&text);
        let is_of_yaml = findings.iter().any(|finding| matches!(finding.code.as_str(), "duplicate-key" | "yaml-tag"));
        let Some(value) = as_json(&text) else { continue };
        if validator.is_valid(&value) != checked.is_some() && !explained(&name) && !is_of_yaml {
            disagreements.push(name);
        }
    }
    assert_eq!(disagreements, Vec::<String>::new(), "tests/schema/disagreements.md explains none of these");
}

/// Every property of the schema, by its path.
fn properties(schema: &serde_json::Value) -> BTreeMap<String, serde_json::Value> {
    fn walk(schema: &serde_json::Value, path: &str, into: &mut BTreeMap<String, serde_json::Value>) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            into.insert(format!("{path}.{key}"), property.clone());
            walk(property, &format!("{path}.{key}"), into);
        }
        for part in schema["anyOf"].as_array().into_iter().flatten() {
            walk(part, path, into);
        }
        for (name, inner) in schema["$defs"].as_object().into_iter().flatten() {
            walk(inner, name, into);
        }
    }
    let mut found = BTreeMap::new();
    walk(schema, "", &mut found);
    found
}

#[test]
fn every_key_of_the_schema_has_words_an_example_and_its_unit() {
    let schema = config::schema();
    let found = properties(&schema);
    assert!(found.len() > 90, "{}", found.len());
    let mut poor = Vec::new();
    for (path, property) in found {
        // `false`: a key that another one rules out.
        if property.is_boolean() {
            continue;
        }
        let words = property["description"].as_str().unwrap_or_default();
        if words.split_whitespace().count() < 2 || !words.ends_with('.') {
            poor.push(format!("{path} has no words: {words:?}"));
        }
        // What the property says of itself has the definitions at hand.
        let whole = |property: &serde_json::Value| {
            let mut whole = property.clone();
            whole["$defs"] = schema["$defs"].clone();
            jsonschema::validator_for(&whole).unwrap()
        };
        let examples = property["examples"].as_array().cloned().unwrap_or_default();
        let is_never = property["not"].as_object().is_some_and(serde_json::Map::is_empty);
        if examples.is_empty() && !is_never {
            poor.push(format!("{path} has no example"));
        }
        for value in examples.iter().chain(property.get("default")) {
            if !whole(&property).is_valid(value) {
                poor.push(format!("{path} shows {value}, which it refuses"));
            }
        }
        if let Some(default) = property.get("default")
            && !words.contains("Default: `")
        {
            poor.push(format!("{path} does not say its default {default}"));
        }
        let rules = property.to_string();
        for (mark, unit) in [
            ("(ms|s|m|h|d)", "`ms`"),
            ("KiB|", "Bytes"),
            ("/ ?(s|min", "per `s`"),
            ("[kM]", "`k`"),
            ("?%$", "share"),
            (r"^\\$?", "US dollars"),
        ] {
            if rules.contains(mark) && !words.contains(unit) {
                poor.push(format!("{path} does not say its unit {unit}: {words}"));
            }
        }
    }
    assert!(poor.is_empty(), "{}", poor.join("\n"));
}

#[test]
fn two_thousand_rules_are_read_whole() {
    let head = "version: 1\nproviders:\n  box: { format: sandbox, models: { echo: {} } }\ndefault: refuse\nrules:\n";
    let mut text = String::from(head);
    for number in 1..=2_000 {
        writeln!(
            text,
            "  - {{ name: rule-{number}, match: {{ task: [a, b], prompt_tokens: {{ max: {number}k }}, stream: true }}, chain: [box/echo] }}"
        )
        .unwrap();
    }
    let (checked, findings) = read(&text);
    assert_eq!((checked.map(|checked| checked.rules.len()), findings.len()), (Some(2_000), 0));
}

#[test]
fn the_shipped_file_loads_without_a_finding() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("routes.yaml")).unwrap();
    let (checked, findings) = read(&text);
    assert_eq!(render(&text, &findings, Style::Plain), "");
    assert!(checked.is_some());
}
