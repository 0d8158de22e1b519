use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::task::JoinSet;

use crate::app::{check_file, style_for_people};
use crate::config::{self, Checked, Code, DefaultRule, Diagnostic, Key, Provider, Sources, Style, many};
use crate::outside::{Probe, probe};
use crate::units::{Clock, Format as WireFormat};

use super::{exit, print};

/// How long one provider may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The routing file
    #[arg(value_name = "FILE", default_value = "routes.yaml", env = "TOLLGATE_CONFIG")]
    file: PathBuf,
    /// The same, as the other commands have it
    #[arg(long, short, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print findings as JSON; the same as `--format json`
    #[arg(long)]
    json: bool,
    /// List the rules that no test of the file reaches
    #[arg(long)]
    coverage: bool,
    /// Say more about a finding by its code, with an example, and check nothing
    #[arg(long, value_name = "CODE", conflicts_with_all = ["json", "online"])]
    explain: Option<Code>,
    /// Ask each provider whether it answers, its key works and its models exist
    #[arg(long)]
    online: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    /// Annotations of GitHub's workflow runs
    Github,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(code) = options.explain {
        print(&config::explain(code))?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = options.config.as_ref().unwrap_or(&options.file);
    let format = if options.json { Format::Json } else { options.format };
    let checking = match check_file(path) {
        Ok(checking) => checking,
        Err(refused) => {
            let told = |style| config::render(&Sources::new(path.display().to_string(), ""), &refused.findings, style);
            match format {
                Format::Text => anstream::eprint!("{}{}", refused.text, foot(&refused.findings)),
                Format::Json => print(&told(Style::Json))?,
                Format::Github => print(&told(Style::Github))?,
            }
            return Ok(ExitCode::from(exit::FINDINGS));
        }
    };
    match format {
        Format::Text => {
            anstream::eprint!("{}{}", checking.render(style_for_people()), foot(&checking.findings));
            if let Some(checked) = &checking.checked {
                print(&summary(&checking.sources.name(0), checked))?;
                let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
                let old = config::old_prices(&checked.providers, &checked.targets, &config::price_lists(&checking.sources), today);
                print(&old.map(|old| format!("  {old}\n")).unwrap_or_default())?;
                if options.coverage {
                    print(&coverage(checked, &checking.unreached))?;
                }
            }
        }
        Format::Json if options.coverage => {
            let mut told: serde_json::Value = serde_json::from_str(&checking.render(Style::Json))?;
            told["unreached"] = checking.unreached.clone().into();
            print(&format!("{told}\n"))?;
        }
        Format::Json => print(&checking.render(Style::Json))?,
        Format::Github => print(&checking.render(Style::Github))?,
    }
    let Some(checked) = &checking.checked else { return Ok(ExitCode::from(exit::FINDINGS)) };
    let is_sound = !options.online || online(checked)?;
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::from(exit::FINDINGS) })
}

/// Where more is told, once below all findings.
fn foot(findings: &[Diagnostic]) -> String {
    findings.first().map(|finding| format!("`tollgate check --explain {}` says more\n", finding.code)).unwrap_or_default()
}

/// The last lines: what the file holds, and who would answer now.
fn summary(name: &str, checked: &Checked) -> String {
    let mut text = format!(
        "{name}: sound; {}, {}, {}{}\n",
        many(checked.providers.len(), "provider"),
        many(checked.targets.len(), "target"),
        many(checked.rules.len(), "rule"),
        passed(checked.tests.len())
    );
    for (provider, source) in missing_keys(checked) {
        text.extend(["  ", provider.name.as_str(), ": no key, its targets are left out until ", source, " is set\n"]);
    }
    let network = checked.providers.iter().filter(|provider| provider.format != WireFormat::Sandbox).count();
    if network > 0 && missing_keys(checked).count() == network && checked.providers.len() > network {
        text += "  no provider has its key: the sandbox answers, with texts made up on this machine\n";
    }
    text
}

fn passed(tests: usize) -> String {
    if tests == 0 { String::new() } else { format!("; {} passed", many(tests, "test")) }
}

/// Which rules the file's tests reach, and which they do not.
fn coverage(checked: &Checked, unreached: &[String]) -> String {
    let all = checked.rules.len() + usize::from(matches!(checked.default, DefaultRule::Route(_)));
    let mut text = format!("  tests reach {} of {all} rules\n", all - unreached.len());
    text.extend(unreached.iter().flat_map(|rule| ["  no test reaches rule `", rule, "`\n"]));
    text
}

fn missing_keys(checked: &Checked) -> impl Iterator<Item = (&Provider, &String)> {
    checked.providers.iter().filter_map(|provider| match &provider.key {
        Key::Missing(source) => Some((provider, source)),
        Key::Present(_) | Key::NotNeeded => None,
    })
}

/// Asks all providers at once. True when none of them is in trouble.
fn online(checked: &Checked) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked: Vec<Provider> = checked.providers.iter().filter(|provider| provider.format != WireFormat::Sandbox).cloned().collect();
    let progress = ProgressBar::new(asked.len() as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos} of {len} providers asked").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut probes = runtime.block_on(async {
        let mut asking = JoinSet::new();
        for (index, provider) in asked.iter().cloned().enumerate() {
            asking.spawn(async move { (index, probe(&provider, PATIENCE, &Clock::System).await) });
        }
        let mut probes = Vec::new();
        while let Some(done) = asking.join_next().await {
            probes.extend(done);
            progress.inc(1);
        }
        probes
    });
    progress.finish_and_clear();
    probes.sort_by_key(|(index, _)| *index);
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["provider", "answers", "key", "models", "took"]);
    let mut is_sound = true;
    let mut troubles = String::new();
    for (index, probe) in &probes {
        let provider = &asked[*index];
        let missing = missing_models(checked, provider, probe);
        let trouble = trouble(provider, probe, &missing);
        is_sound &= trouble.is_none();
        troubles.extend(trouble.map(|trouble| format!("error: provider `{}`: {trouble}\n", provider.name)));
        table.add_row(row(provider, probe, &missing));
    }
    print(&format!("{table}\n{troubles}"))?;
    Ok(is_sound)
}

fn row(provider: &Provider, probe: &Probe, missing: &[String]) -> [String; 5] {
    let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let key = match (&provider.key, probe.key_works) {
        (Key::NotNeeded, _) => "not needed".to_owned(),
        (Key::Missing(_), _) => "missing".to_owned(),
        (Key::Present(_), Some(true)) => "works".to_owned(),
        (Key::Present(_), Some(false)) => "rejected".to_owned(),
        (Key::Present(_), None) => "unknown".to_owned(),
    };
    let models = match &probe.models {
        None => "unknown".to_owned(),
        Some(_) if missing.is_empty() => "all there".to_owned(),
        Some(_) => format!("missing {}", missing.join(", ")),
    };
    [provider.name.to_string(), word(probe.reachable), key, models, format!("{} ms", probe.took.as_millis())]
}

/// The file's models that the provider does not list.
fn missing_models(checked: &Checked, provider: &Provider, probe: &Probe) -> Vec<String> {
    let Some(listed) = &probe.models else { return Vec::new() };
    let own = checked.targets.iter().filter(|target| checked.providers[target.provider].name == provider.name);
    own.map(|target| target.model.to_string()).filter(|model| !listed.contains(model)).collect()
}

/// What is wrong with a provider. A key that may be missing is no trouble.
fn trouble(provider: &Provider, probe: &Probe, missing: &[String]) -> Option<String> {
    if matches!(provider.key, Key::Missing(_)) && probe.reachable {
        return None;
    }
    probe.problem.clone().or_else(|| (!missing.is_empty()).then(|| format!("it does not list {}", missing.join(", "))))
}
