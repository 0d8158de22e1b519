use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::{exit, print};

/// Where the prices of the starter come from, and as of when.
const PRICES: &str = "published prices as of 2026-05-21, from the models.dev catalogue";

/// A provider whose key may be in the environment.
struct Starter {
    name: &'static str,
    key: &'static str,
    base_url: &'static str,
    /// The stronger model first, the cheaper one last: name, dollars per million tokens in and out, context, most output, what it can.
    models: &'static [(&'static str, &'static str, &'static str, &'static str, &'static str, &'static str)],
}

const STARTERS: [Starter; 9] = [
    Starter {
        name: "openai",
        key: "OPENAI_API_KEY",
        base_url: "https://api.openai.com/v1",
        models: &[
            ("gpt-5.4", "2.5", "15", "1050k", "128k", "tools, reasoning, vision, json_schema"),
            ("gpt-5-mini", "0.25", "2", "400k", "128k", "tools, reasoning, vision, json_schema"),
        ],
    },
    Starter {
        name: "gemini",
        key: "GEMINI_API_KEY",
        base_url: "https://generativelanguage.googleapis.com/v1beta/openai",
        models: &[
            ("gemini-3.5-flash", "1.5", "9", "1_048_576", "65_536", "tools, reasoning, vision, json_schema"),
            ("gemini-2.5-flash-lite", "0.1", "0.4", "1_048_576", "65_536", "tools, reasoning, vision, json_schema"),
        ],
    },
    Starter {
        name: "deepseek",
        key: "DEEPSEEK_API_KEY",
        base_url: "https://api.deepseek.com/v1",
        models: &[
            ("deepseek-v4-pro", "1.74", "3.48", "1M", "384k", "tools, reasoning, json_schema"),
            ("deepseek-v4-flash", "0.14", "0.28", "1M", "384k", "tools, reasoning, json_schema"),
        ],
    },
    Starter {
        name: "mistral",
        key: "MISTRAL_API_KEY",
        base_url: "https://api.mistral.ai/v1",
        models: &[
            ("mistral-medium-2604", "1.5", "7.5", "262_144", "262_144", "tools, reasoning, vision, json_schema"),
            ("mistral-small-2603", "0.15", "0.6", "256k", "256k", "tools, reasoning, vision"),
        ],
    },
    Starter {
        name: "xai",
        key: "XAI_API_KEY",
        base_url: "https://api.x.ai/v1",
        models: &[("grok-build-0.1", "1", "2", "256k", "256k", "tools, reasoning, vision, json_schema")],
    },
    Starter {
        name: "moonshot",
        key: "MOONSHOT_API_KEY",
        base_url: "https://api.moonshot.ai/v1",
        models: &[("kimi-k2.6", "0.95", "4", "262_144", "262_144", "tools, reasoning, vision, json_schema")],
    },
    Starter {
        name: "groq",
        key: "GROQ_API_KEY",
        base_url: "https://api.groq.com/openai/v1",
        models: &[
            ("llama-3.3-70b-versatile", "0.59", "0.79", "131_072", "32_768", "tools"),
            ("llama-3.1-8b-instant", "0.05", "0.08", "131_072", "131_072", "tools"),
        ],
    },
    Starter {
        name: "cerebras",
        key: "CEREBRAS_API_KEY",
        base_url: "https://api.cerebras.ai/v1",
        models: &[("gpt-oss-120b", "0.25", "0.69", "131_072", "32_768", "tools, reasoning")],
    },
    Starter {
        name: "openrouter",
        key: "OPENROUTER_API_KEY",
        base_url: "https://openrouter.ai/api/v1",
        models: &[("deepseek/deepseek-v4-flash", "0.112", "0.224", "1_048_575", "131_072", "tools, reasoning, json_schema")],
    },
];

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
    let found: Vec<&Starter> = STARTERS.iter().filter(|starter| has(starter.key)).collect();
    let keys = STARTERS.map(|starter| starter.key).join(", ");
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
            "# No provider's key was in the environment (looked for {keys}),\n# so the offline sandbox answers, with texts that are made up."
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
    line(&format!(
        "# Keys are read from the environment; with the `?` behind it a provider without its key is left out.\n# Prices are dollars per million tokens: {PRICES}. Check them.\nproviders:"
    ));
    for starter in &found {
        line(&format!(
            "  {}:\n    format: openai\n    base_url: {}\n    api_key: ${{{}}}?\n    models:",
            starter.name, starter.base_url, starter.key
        ));
        for (model, input, output, context, most, can) in starter.models {
            line(&format!(
                "      {model}:\n        usd_per_mtok: {{ input: {input}, output: {output} }}\n        context: {context}\n        max_output: {most}\n        can: [{can}]"
            ));
        }
    }
    let strong: Vec<String> = found.iter().filter_map(|starter| Some(format!("{}/{}", starter.name, starter.models.first()?.0))).collect();
    let cheap: Vec<String> = found.iter().filter_map(|starter| Some(format!("{}/{}", starter.name, starter.models.last()?.0))).collect();
    let first_four = |targets: &[String]| targets.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app;
    use crate::config::{self, Env, Sources, Style};

    #[test]
    fn every_starter_is_sound_and_in_its_canonical_form() {
        let none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let all: Vec<Vec<&str>> = std::iter::once(Vec::new())
            .chain(STARTERS.iter().map(|starter| vec![starter.key]))
            .chain([STARTERS.iter().map(|starter| starter.key).collect()])
            .collect();
        for keys in all {
            let text = starter(|key| keys.contains(&key));
            let env = Env { variable: &|name| keys.contains(&name).then(|| "sk-there".into()), file: &none, credential: &none };
            let checking = app::check(Sources::new("routes.yaml", text.as_str()), &env);
            assert_eq!(checking.render(Style::Plain), "", "{text}");
            assert!(checking.checked.is_some());
            assert_eq!(config::format(&text).unwrap(), text);
        }
    }
}
