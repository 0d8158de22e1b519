use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::{exit, print};
use crate::catalog::{CatalogProvider, catalog};

/// Of some providers the model for hard work, and the one for the rest. Of the others it is the newest and the cheapest one.
const PICKS: [(&str, &str, &str); 10] = [
    ("openai", "gpt-5.4", "gpt-5-mini"),
    ("anthropic", "claude-sonnet-4-6", "claude-haiku-4-5"),
    ("google", "gemini-3.5-flash", "gemini-2.5-flash-lite"),
    ("deepseek", "deepseek-v4-pro", "deepseek-v4-flash"),
    ("mistral", "mistral-medium-2604", "mistral-small-2603"),
    ("xai", "grok-build-0.1", "grok-build-0.1"),
    ("moonshot", "kimi-k2.6", "kimi-k2.6"),
    ("groq", "llama-3.3-70b-versatile", "llama-3.1-8b-instant"),
    ("cerebras", "gpt-oss-120b", "gpt-oss-120b"),
    ("openrouter", "deepseek/deepseek-v4-flash", "deepseek/deepseek-v4-flash"),
];

/// Keys that are in many environments for something else.
const ELSEWHERE: [&str; 2] = ["HF_TOKEN", "WANDB_API_KEY"];

/// A provider whose key is in the environment.
struct Starter {
    known: &'static CatalogProvider,
    strong: &'static str,
    cheap: &'static str,
}

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The file to write; it must not be there yet
    #[arg(value_name = "FILE", default_value = "routes.yaml")]
    file: PathBuf,
    /// Print it instead
    #[arg(long)]
    print: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let text = starter(|key| std::env::var_os(key).is_some_and(|value| !value.is_empty()));
    if options.print {
        print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = options.file.display().to_string();
    match std::fs::File::create_new(&options.file) {
        Ok(mut file) => std::io::Write::write_all(&mut file, text.as_bytes()).with_context(|| name.clone())?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            anstream::eprintln!(
                "error: {name} is there already\n hint: name another file, or print the starter with `tollgate init --print`"
            );
            return Ok(ExitCode::from(exit::FINDINGS));
        }
        Err(error) => return Err(error).with_context(|| name),
    }
    print(&format!("wrote {name}; `tollgate check {name}` looks at it, `tollgate serve --config {name}` serves it\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// A file for the providers whose keys are there; where there is none, for the offline one.
fn starter(has: impl Fn(&str) -> bool) -> String {
    let found = starters(has);
    let keys = picked().map(|starter| starter.known.key_variable.as_str()).collect::<Vec<_>>().join(", ");
    let mut text = String::from(
        "# Which requests go to which chain of providers. Save this file while tollgate runs, and the next request follows it.\n\
         # `tollgate check` says what is wrong with it, `tollgate explain` what would happen to one request.\n\
         version: 1\n\nserver:\n  listen: 127.0.0.1:8080 # applications: set their base_url to http://127.0.0.1:8080/v1\n  \
         admin: 127.0.0.1:8081 # metrics, health and questions, for you\n\n",
    );
    // Writing to a String cannot fail.
    let mut line = |words: &str| _ = writeln!(text, "{words}");
    if found.is_empty() {
        line(&format!(
            "# No provider's key was in the environment (looked for {keys} and others),\n# so the offline sandbox answers, with texts that are made up."
        ));
        line("providers:\n  sandbox:\n    format: sandbox\n    models: { echo: {} }\n");
        line(
            "# The first rule that matches decides.\nrules:\n  - name: coding\n    match: { task: coding } # declared with the header x-tollgate-task, or as model `auto/coding`",
        );
        line("    chain: [sandbox/echo]\n\n# What no rule matches.\ndefault: { chain: [sandbox/echo] }\n");
        line(
            "# Run by `tollgate check`, and before a changed file comes into force.\ntests:\n  - name: code meets its rule\n    given: { task: coding }\n    expect: { rule: coding }\n...",
        );
        return text;
    }
    line(
        "# Format, address, models and prices of these come from the catalogue; what you write of them counts before it.\n# A provider without its key is left out.\nproviders:",
    );
    for starter in &found {
        line(&format!("  {}: {{}} # key: {}", starter.known.name, starter.known.key_variable));
    }
    let target = |starter: &Starter, model: &str| format!("{}/{model}", starter.known.name);
    let strong: Vec<String> = found.iter().map(|starter| target(starter, starter.strong)).collect();
    let cheap: Vec<String> = found.iter().map(|starter| target(starter, starter.cheap)).collect();
    let first_four = |targets: &[String]| targets.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
    line(
        "\n# Spend stops at a cap, before the money is spent. Take the `#` out, and write what you can afford:\n# budgets:\n#   everything: { cap: [$300/month, $40/day], warn_at: [50%, 80%] }",
    );
    // A hard cap covers only what has a ceiling.
    for starter in found.iter().filter(|starter| starter.known.models.iter().any(|model| model.max_output.is_none() && !model.embeds)) {
        line(&format!(
            "# How much some models of {} write at most is not known, so a cap asks for a limit: `{}: {{ max_output_tokens: 16k }}`.",
            starter.known.name, starter.known.name
        ));
    }
    line(&format!(
        "\n# Chains are tried in order: when one target fails or rests, the next one answers.\nchains:\n  strong: [{}]\n  cheap: [{}]\n",
        first_four(&strong),
        first_four(&cheap)
    ));
    line(
        "# The first rule that matches decides.\nrules:\n  - name: coding\n    match: { task: coding } # declared with the header x-tollgate-task, or as model `auto/coding`\n    chain: strong\n",
    );
    line(
        "  - name: named-by-the-client\n    match: { model: known } # a target or a model of this file\n    chain: [requested]\n\n# What no rule matches, model `auto` among it.\ndefault: { chain: cheap }\n",
    );
    line(&format!(
        "# Run by `tollgate check`, and before a changed file comes into force.\ntests:\n  - name: code goes to the strong models\n    given: {{ task: coding }}\n    expect: {{ rule: coding, target: {} }}\n...",
        strong[0]
    ));
    text
}

/// Those whose keys are there, the picked ones first; of two with one key the first.
fn starters(has: impl Fn(&str) -> bool) -> Vec<Starter> {
    let others = catalog().providers.iter().filter(|known| PICKS.iter().all(|(name, ..)| *name != known.name)).filter_map(|known| {
        let writers = || known.models.iter().filter(|model| !model.embeds);
        let cheapest = writers().min_by_key(|model| model.prices.output)?;
        Some(Starter { known, strong: &writers().next()?.name, cheap: &cheapest.name })
    });
    let others = others.filter(|starter| !ELSEWHERE.contains(&starter.known.key_variable.as_str()));
    let mut found: Vec<Starter> = Vec::new();
    for starter in picked().chain(others).filter(|starter| has(&starter.known.key_variable)) {
        if found.iter().all(|other| other.known.key_variable != starter.known.key_variable) {
            found.push(starter);
        }
    }
    found
}

fn picked() -> impl Iterator<Item = Starter> {
    PICKS.iter().filter_map(|(name, strong, cheap)| Some(Starter { known: catalog().provider(name)?, strong, cheap }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app;
    use crate::config::{self, Env, Sources, Style};

    #[test]
    fn every_starter_is_sound_and_in_its_canonical_form() {
        let none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let keys = || catalog().providers.iter().map(|known| known.key_variable.as_str()).filter(|key| !ELSEWHERE.contains(key));
        let all: Vec<Vec<&str>> = std::iter::once(Vec::new()).chain(keys().map(|key| vec![key])).chain([keys().collect()]).collect();
        for keys in all {
            let text = starter(|key| keys.contains(&key));
            let env = Env { variable: &|name| keys.contains(&name).then(|| "sk-there".into()), file: &none, credential: &none };
            let checking = app::check(Sources::new("routes.yaml", text.as_str()), &env);
            assert_eq!(checking.render(Style::Plain), "", "{text}");
            assert!(checking.checked.is_some());
            assert_eq!(config::format(&text).unwrap(), text);
            // What is there to be taken out of its comment is sound, too.
            let mut capped = text.replace("# budgets:", "budgets:").replace("#   everything:", "  everything:");
            let limits = text.lines().filter(|line| line.starts_with("# How much")).filter_map(|line| line.split('`').nth(1));
            for limited in limits {
                let name = limited.split(':').next().unwrap();
                capped = capped.replace(&format!("  {name}: {{}}"), &format!("  {limited}"));
            }
            let checking = app::check(Sources::new("routes.yaml", capped.as_str()), &env);
            assert_eq!((checking.render(Style::Plain).as_str(), capped == text), ("", keys.is_empty()), "{capped}");
        }
    }
}
